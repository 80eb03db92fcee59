import QueueSimulation

/// All histories of a small installation with up to so many mishaps, each at any point where it can befall.
///
/// A history without mishaps is one schedule: nothing in it is drawn. Every history with one mishap follows it up to a point, and every one with two
/// follows one of those: the bounded search of systematic concurrency testing (Emmi, Qadeer, Rakamarić: Delay-Bounded Scheduling, 2011), with faults in
/// the place of delays. A history is told by its plan, and repeats.
struct Exploration {
    var brokers = 2
    var workers = 2
    var tasks = 2
    /// Mishaps a history.
    var depth = 1
    /// Of a history's second mishaps, each so-many-th is explored: 1 is all.
    var stride = 1
    var mutation: ModelStore.Mutation?
    /// Ends after so many broken histories.
    var mostBroken = 3

    /// What was seen.
    private(set) var histories = 0
    /// Plans of histories that broke a promise, and how.
    private(set) var broken: [(plan: [PlannedMishap], faults: [String])] = []

    init(depth: Int, stride: Int = 1, mutation: ModelStore.Mutation? = nil) {
        self.depth = depth
        self.stride = stride
        self.mutation = mutation
    }

    /// Explores one part of the histories.
    /// - Parameter part: those whose first mishap is at a point that is this, modulo the number of parts.
    mutating func run(part: Int = 0, of parts: Int = 1) {
        let points = look([])
        if part != 0 { histories -= 1 }
        for point in points.indices where point % parts == part { extend([], at: point, points[point]) }
    }

    /// Follows one plan.
    /// - Returns: the points that it passed.
    private mutating func look(_ plan: [PlannedMishap]) -> [Point] {
        let world = SimulatedWorld(plan: plan, brokers: brokers, workers: workers, tasks: tasks, mutation: mutation)
        let faults = world.run()
        histories += 1
        if !faults.isEmpty { broken.append((plan, faults)) }
        return world.fate.points
    }

    private mutating func extend(_ plan: [PlannedMishap], at point: Int, _ kind: Point) {
        for mishap in Mishap.inTransit(kind) + Mishap.toMachines(brokers: brokers, workers: workers) {
            guard broken.count < mostBroken else { return }
            let longer = plan + [PlannedMishap(point: point, mishap: mishap)]
            let points = look(longer)
            guard longer.count < depth else { continue }
            for next in Swift.stride(from: point + 1, to: points.count, by: stride) { extend(longer, at: next, points[next]) }
        }
    }

    /// The broken histories, for a message.
    var report: String { broken.map { "\($0.plan): \($0.faults.prefix(3).joined(separator: "; "))" }.joined(separator: "\n") }
}
