/// What it costs to run a model's tasks and to load it, and how far those workers are that hold it: by this a claim tells whether a task had better
/// wait for one of them, or be run by a worker that has to load the model first.
///
/// Estimates: a wrong one costs time, never a task.
package struct ModelCost: Sendable, Equatable {
    /// How long a task runs, in milliseconds.
    package var run: Int64
    /// How long a worker takes to load the model, in milliseconds.
    package var load: Int64
    /// Until the first worker that is loading it now has it, in milliseconds; nil where none is.
    package var loadedIn: Int64?
    /// Sequences that run at once in the workers that hold it.
    package var slots: Int
    /// Slots of these that are taken, and tasks that wait for one there or are to.
    package var held: Int

    package init(run: Int64, load: Int64, loadedIn: Int64? = nil, slots: Int, held: Int) {
        self.run = run
        self.load = load
        self.loadedIn = loadedIn
        self.slots = slots
        self.held = held
    }

    /// How long the next task would wait for a slot of those workers, in milliseconds; nil where none holds the model. One of `slots` tasks under way
    /// ends each `run / slots`.
    package var wait: Int64? { slots > 0 ? run * Int64(max(0, held + 1 - slots)) / Int64(slots) : nil }
}
