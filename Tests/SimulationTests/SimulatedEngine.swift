import TaskProtocol
import TestSupport
import Worker

/// An engine as the worker's core sees one: tasks take a while, report, end or fail, and stop when they are told to.
struct SimulatedEngine {
    /// What a running task will say next.
    struct Running {
        var grant: WorkerGrant
        /// Rises with each change, so that what was planned before a stop is not said after it.
        var plan: Int
        var sequences: Int
        var isFinetune: Bool
        var steps = 0
        /// Its model is still on its way: it goes back.
        var snoozes = false
    }

    private(set) var tasks: [LeaseID: Running] = [:]
    private var plans = 0
    /// The one model that there is, is in memory.
    var hasModel = false

    /// - Returns: the number of the plan, which later events of the task must name.
    mutating func start(_ grant: WorkerGrant, _ demand: TaskDemand) -> Int {
        plans += 1
        var sequences = 0
        if case .sequences(let count) = demand { sequences = count }
        tasks[grant.lease] = Running(grant: grant, plan: plans, sequences: sequences, isFinetune: demand == .everything)
        return plans
    }

    /// The task will say nothing more but that it has stopped.
    mutating func replan(_ lease: LeaseID) -> Int? {
        guard tasks[lease] != nil else { return nil }
        plans += 1
        tasks[lease]?.plan = plans
        return plans
    }

    /// The task that such a plan is about, where it still holds.
    func task(_ lease: LeaseID, plan: Int) -> Running? {
        guard let task = tasks[lease], task.plan == plan else { return nil }
        return task
    }

    /// Whether the task needs the model, and it is not there.
    func lacksModel(_ lease: LeaseID) -> Bool { !hasModel && tasks[lease]?.isFinetune == false }

    mutating func snoozes(_ lease: LeaseID) { tasks[lease]?.snoozes = true }

    mutating func forget(_ lease: LeaseID) { tasks[lease] = nil }

    mutating func step(_ lease: LeaseID) { tasks[lease]?.steps += 1 }

    /// SHA-256 of nothing in particular, made once: histories make texts by the million.
    private static let digests = (0...2).map { String(repeating: "\($0)", count: 64) }

    /// The texts that every attempt of a task makes.
    static func texts(of running: Running) -> [GenerationRecord] {
        (0..<running.sequences).map { sample in
            GenerationRecord(
                sample: sample, promptIndex: 0, draw: 0, prompt: "", text: "text \(sample)", promptTokenIDs: [0], tokenIDs: [1],
                finishReason: .length,
                meanLogprob: -1, params: [], recordSHA256: digests[0], numerics: "float32/1", checkpointSHA256: digests[1],
                tokenizerSHA256: digests[2])
        }
    }
}
