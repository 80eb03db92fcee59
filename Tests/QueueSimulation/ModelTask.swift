import Encodings
package import TaskProtocol

/// A task as the model store holds it: everything that PostgreSQL spreads over its relations.
package struct ModelTask: Sendable {
    /// Why a queued task is not in line: the store's `hot.blocked`.
    package enum Block: String, Sendable {
        /// Its time is ahead; a sweep puts it in line.
        case due = "r"
        /// It waits for those of `after`.
        case after = "a"
        /// A broker has yet to check and pin it.
        case check = "c"
    }

    package let id: TaskID
    package var kind: TaskKind
    package var queue: String
    package var client = ""
    package var priority: Int
    package var key: String?
    package var maxAttempts: Int
    package var timeoutSeconds: Double?
    package var after: [TaskID] = []
    /// A priority given in SQL that its column cannot hold.
    package var publishedPriority: Int?
    package var params: [UInt8]
    /// SHA-256 of kind and params: what another submit under the same key must agree in.
    package var paramsDigest: [UInt8]
    package var seed: Int64?
    package var seedAssigned = false
    package var createdAt: Int64
    /// As its publisher asked.
    package let askedRunAt: Int64
    /// ``askedRunAt``, or the end of a retry's pause.
    package var runAt: Int64
    package var rank: Int64
    package var state: TaskState = .queued
    package var block: Block?
    /// Those of ``after`` that stand noted as holding it back.
    package var parents: Set<TaskID> = []
    package var attempt = 0
    package var failures = 0
    package var losses = 0
    package var isolated = false
    package var lease: LeaseID?
    package var session: SessionID?
    package var cancelRequested = false
    /// What the worker of its first attempt computed in.
    package var numerics: [String] = []
    /// Pinned.
    package var resolved: [UInt8]?
    /// Digest of the checkpoint that it is pinned to.
    package var model: String?
    /// What it computes in; nil where that is not its own to say.
    package var precision: Precision?
    package private(set) var resume: [UInt8]?
    /// The attempt that saved it.
    private var resumeAttempt = 0
    package var error: ContractError?
    /// When it ended, in microseconds.
    package var endedAt: Int64?
    /// How each ended lease ended: an ending of `attempts`.
    package var endings: [LeaseID: String] = [:]
    /// When the last of them ended.
    package var lastEnd: Int64?
    /// The lease of the outcome.
    package var finalLease: LeaseID?
    /// Completions that were recorded: more than one is a broken invariant.
    package var recorded = 0
    /// How often it was queued anew after its end.
    package var retries = 0
    package var generations: [GenerationRecord] = []
    /// Ids of ``generations``.
    package var generationIDs: [UUIDValue] = []
    /// Steps of the checkpoints that were filed, by their ids.
    package var checkpoints: [UUIDValue: Int] = [:]

    init(
        id: TaskID, kind: TaskKind, queue: String, priority: Int, maxAttempts: Int, params: [UInt8], paramsDigest: [UInt8], createdAt: Int64,
        runAt: Int64
    ) {
        self.id = id
        self.kind = kind
        self.queue = queue
        self.priority = priority
        self.maxAttempts = maxAttempts
        self.params = params
        self.paramsDigest = paramsDigest
        self.createdAt = createdAt
        self.runAt = runAt
        askedRunAt = runAt
        rank = Self.rank(runAt, priority)
    }

    /// Within an attempt a state never gives way to an earlier one.
    mutating func saveResume(_ new: [UInt8]) {
        if resumeAttempt == attempt, let old = resume.flatMap(Self.step(of:)), let step = Self.step(of: new), old > step { return }
        (resume, resumeAttempt) = (new, attempt)
    }

    private static func step(of resume: [UInt8]) -> Int64? { (try? JSONValue.parse(resume))?["step"]?.intValue.map { Int64($0) } }

    /// A minute for each point of priority.
    static func rank(_ runAt: Int64, _ priority: Int) -> Int64 { runAt - Int64(priority) * 60_000 }

    /// What its model is rounded to in memory.
    var modelPrecision: Precision {
        switch kind {
        case .generate: precision ?? .float32
        case .finetune: .float32
        case .verify: (try? ResolvedTask.decode(resolved ?? []))?.textPrecision ?? .float32
        }
    }

    /// Names of the parameters that it is pinned with.
    var parameterNames: Set<String> { (try? ResolvedTask.decode(resolved ?? []))?.parameters.usedNames ?? [] }

    /// Whether it waits in line.
    var isInLine: Bool { state == .queued && block == nil }
}
