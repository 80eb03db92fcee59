/// The models that the loader was asked for and has not answered yet, and which of them take long.
///
/// Whoever waited for one may be stopped meanwhile: the next that needs it waits for the same load. A value that is told the time.
struct ModelLoads {
    /// How long a model may be on its way before one task alone goes on waiting for it here: the others would keep their slots from tasks of models that
    /// are here already, and another worker may have it. Where its load has not even begun none does: their time runs, and another may be faster.
    static let patience: Milliseconds = 5_000
    /// In the order in which they were asked for; `begun` is nil for one that stands behind others.
    private var loads: [(model: ModelIdentity, begun: Milliseconds?)] = []
    /// Since when the loader is at something that is no model, and that nobody waits for any more.
    private var standingSince: Milliseconds?

    /// - Returns: true where the loader is to be asked now, false where it was already.
    mutating func ask(_ model: ModelIdentity) -> Bool {
        guard !asked.contains(model) else { return false }
        loads.append((model, nil))
        return true
    }

    /// The loader is at work on a model.
    mutating func goesOn(_ model: ModelIdentity, now: Milliseconds) {
        standingSince = nil
        guard let index = loads.firstIndex(where: { $0.model == model }), loads[index].begun == nil else { return }
        loads[index].begun = now
    }

    /// The loader is at work on what a stopped task wanted.
    mutating func standBehind(now: Milliseconds) { standingSince = standingSince ?? now }

    /// The loader is done with that.
    mutating func standsFree() { standingSince = nil }

    mutating func ended(_ model: ModelIdentity) { loads.removeAll { $0.model == model } }

    var asked: [ModelIdentity] { loads.map(\.model) }

    /// Whether the loader is at work on a model.
    func hasBegun(_ model: ModelIdentity) -> Bool { begun(model) != nil }

    /// Whether a model takes long: its own load does, or it has not begun and stands behind one that does. Behind short ones it is as good as begun.
    func isLong(_ model: ModelIdentity, now: Milliseconds) -> Bool {
        begun(model).map { now - $0 >= Self.patience } ?? isHeldUp(now: now)
    }

    /// Whether the loader is at something that takes long: what it is asked for now would stand behind that.
    func isHeldUp(now: Milliseconds) -> Bool { longFrom.map { now >= $0 } ?? false }

    /// When what the loader is at takes long; nil where it is at nothing.
    var longFrom: Milliseconds? {
        let begun = loads.reduce(standingSince) { first, load in load.begun.map { min($0, first ?? $0) } ?? first }
        return begun.map { $0 + Self.patience }
    }

    private func begun(_ model: ModelIdentity) -> Milliseconds? { loads.first { $0.model == model }?.begun }
}
