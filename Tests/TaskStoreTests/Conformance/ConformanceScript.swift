import Encodings
import QueueSimulation
import TaskProtocol
import TestSupport

/// What both stores are put through.
enum ConformanceStep {
    case ask(StoreRequest)
    case publish(ModelStore.Publication)
    /// A retry of all that had ended when it was looked at: in the so-manieth answer to `states`, which each store gave with moments of its own.
    case retry(look: Int)
    /// Hours pass for all whose time is ahead.
    case bringForward
}

/// Requests as a few brokers and workers might send them, in no sensible order: old leases, ended sessions, unknown ids and repetitions among them.
///
/// The seed and PostgreSQL's replies choose each step, so that a seed repeats its script. A batch never names one new id twice: brokers draw an id for
/// each task that they are asked for, and a request sent again is sent alone.
struct ConformanceScript {
    var random: SeededGenerator
    private let start: Int64
    private let broker: BrokerID
    private var ids: Int64 = 0
    /// Also those that were refused.
    private(set) var tasks: [TaskID] = []
    private var accepted = Set<TaskID>()
    /// Of this script alone: keys outlive it.
    private let keys: [String]
    private var sent: [SubmitGroup] = []
    /// Every lease that was ever made.
    private var leases: [Lease] = []
    private(set) var sessions: [SessionID: Int64] = [:]
    private var endedSessions: [SessionID] = []
    private var unchecked: [UncheckedTask] = []
    private var adopted: [Adoption] = []
    private var completed: [Completion] = []
    /// What was looked at.
    private var looks: [[TaskID]] = []
    /// What is to come next.
    private var planned: [ConformanceStep] = []

    private struct Lease {
        var reference: LeaseReference
        var kind: TaskKind
    }

    /// Far from all times that scripts choose.
    private static let pause: Int64 = 7_200_000
    static let leap: Int64 = 2 * pause
    /// Who publishes in SQL here: the schema's owner.
    private static let publisher = "postgres"
    private static let queues = ["default", "default", "other"]

    /// - Parameter start: the machine's present.
    init(seed: UInt64, start: Int64) {
        random = SeededGenerator(seed: seed)
        self.start = start
        broker = UUIDValue.random(using: &random)
        keys = ["one", "two", "three"].map { "\($0) of \(seed)" }
    }

    var brokers: Set<BrokerID> { [broker] }
    /// All that ever were.
    var allSessions: Set<SessionID> { Set(sessions.keys).union(endedSessions) }

    // MARK: Choices

    private mutating func pick<Value>(_ values: [Value]) -> Value? { values.isEmpty ? nil : values[random.below(values.count)] }
    private mutating func newID() -> UUIDValue { UUIDValue.random(using: &random) }

    /// Ids carry a time of their own an hour ago, each some milliseconds after the one before.
    private mutating func timedID() -> UUIDValue {
        ids += 1
        return UUIDValue.version7(milliseconds: start - 3_600_000 + ids * 7, random: &random)
    }

    private mutating func session(mayBeEnded: Bool = true) -> SessionID {
        if mayBeEnded, random.chance(120) { return pick(endedSessions) ?? newID() }
        return pick(sessions.keys.sorted()) ?? newID()
    }

    private mutating func someTasks() -> [TaskID] {
        (0..<1 + random.below(3)).map { _ in random.chance(25) ? newID() : pick(tasks) ?? newID() }
    }

    /// Mostly a recent lease, sometimes an old one, sometimes one of another task or nobody's.
    private mutating func lease() -> Lease? {
        let recent = leases.suffix(5)
        guard var lease = random.chance(650) ? pick(Array(recent)) : pick(leases) else { return nil }
        if random.chance(40) { lease.reference.lease = newID() }
        if random.chance(40), let other = pick(leases) { lease.reference.lease = other.reference.lease }
        return lease
    }

    /// Now and then the same twice in one batch.
    private mutating func batch() -> [Lease] {
        let some = (0..<1 + random.below(3)).compactMap { _ in lease() }
        return random.chance(80) ? some + some.prefix(1) : some
    }

    /// What a worker says has none; what a broker decides has that of some registration.
    private mutating func epoch() -> Int? { random.chance(500) ? random.below(4) : nil }

    // MARK: Steps

    /// How a script begins: so that most have something to work with.
    mutating func opening() -> [ConformanceStep] {
        [.ask(registerBroker()), .ask(register(newID())), .ask(register(newID())), .ask(submit()), .ask(submit())]
    }

    mutating func next() -> ConformanceStep {
        if !planned.isEmpty { return planned.removeFirst() }
        if !unchecked.isEmpty, random.chance(700) { return .ask(adopt()) }
        switch random.below(100) {
        case 0..<17: return .ask(submit())
        case 17..<21: return .publish(publication())
        case 21..<36: return .ask(claim())
        case 36..<40: return .ask(beat())
        case 40..<45: return .ask(.sweep(dead()))
        case 45..<49: return .ask(register(random.chance(300) ? session() : newID()))
        case 49..<51: return .ask(.endSession(session()))
        case 51..<53: return .ask(.leases([session(), session()]))
        case 53..<64: return .ask(.complete(completions()))
        case 64..<70: return .ask(.fail(failures()))
        case 70..<75: return .ask(.release(releases()))
        case 75..<79: return .ask(.confirmCancel(batch().map(\.reference)))
        case 79..<83: return .ask(.checkpoint(checkpoints()))
        case 83..<87: return .ask(.cancel(someTasks()))
        case 87..<89: return .ask(.states(someTasks()))
        case 89..<92: return retry()
        case 92..<93: return .ask(.get(someTasks(), results: false))
        case 93..<96: return .ask(.unchecked(after: random.chance(200) ? pick(tasks) : nil, limit: random.chance(150) ? 1 : 100))
        case 96..<97: return .ask(random.chance(500) ? registerBroker() : .endBackoffs(longestMilliseconds: 60_000))
        case 97..<98: return .bringForward
        default: return .ask(.dueSweep())
        }
    }

    /// Sometimes sent again, when its tasks have ended once more.
    private mutating func retry() -> ConformanceStep {
        guard !looks.isEmpty else { return .ask(.states(someTasks())) }
        let look = random.chance(600) ? looks.count - 1 : random.below(looks.count)
        let known = looks[look].filter(accepted.contains)
        if !known.isEmpty, random.chance(300) {
            let anew = looks.count
            planned = [.ask(.cancel(known)), .ask(.states(known)), .retry(look: anew), .ask(.cancel(known)), .retry(look: anew)]
        }
        return .retry(look: look)
    }

    /// Ends all that a script began, so that the next finds nothing.
    func closing() -> [ConformanceStep] {
        sessions.keys.sorted().map { .ask(.endSession($0)) } + [.ask(.cancel(accepted.sorted())), .ask(.dueSweep()), .ask(.endBroker(broker))]
    }

    private func registerBroker() -> StoreRequest {
        .registerBroker(
            BrokerRegistration(
                id: broker, host: "h", pid: 1, version: "0", endpoints: ["peers": "tcp://127.0.0.1:5574"], publicKey: nil))
    }

    private mutating func register(_ session: SessionID) -> StoreRequest {
        .registerSession(
            SessionRegistration(
                session: session, broker: broker, host: "h", pid: 2, version: "0", numerics: [], instructionSet: "plain", threads: 1, slots: 4,
                epoch: random.below(4), publicKey: pick([nil, nil, "one", "other"]) ?? nil))
    }

    // MARK: Publishing

    private mutating func submit() -> StoreRequest {
        var groups = (0..<1 + random.below(3)).map { _ in newGroup() }
        // Sent again, as it was.
        if random.chance(250), let old = pick(sent) { groups = random.chance(500) ? [old] : groups + [old] }
        sent += groups
        return groups.count == 1 && random.chance(200) ? .submitPatiently(groups[0], milliseconds: 100) : .submit(groups)
    }

    private mutating func newGroup() -> SubmitGroup {
        SubmitGroup(items: (0..<1 + random.below(3)).map { _ in item() }, client: pick(["anna", "bert", ""]) ?? "")
    }

    private mutating func item() -> SubmitItem {
        var submission = random.chance(120) ? finetune() : Self.generate(model: random.chance(30) ? "nobody" : "demo", prompt: prompt())
        submission.queue = pick(Self.queues) ?? "default"
        submission.priority = pick([-5, 0, 0, 0, 3, 10]) ?? 0
        submission.maxAttempts = 1 + random.below(3)
        if random.chance(200) { submission.key = pick(keys) }
        if random.chance(100) { submission.runAt = start + Self.pause - 20_000 }
        if random.chance(50) { submission.runAt = start - 3_600_000 - Int64(random.below(300)) * 1000 }
        if random.chance(100) { submission.timeoutSeconds = 30 }
        if random.chance(170) { submission.after = someTasks() }
        let offer = random.chance(350) ? GrantOffer(session: session(), lease: newID(), broker: broker) : nil
        let id = timedID()
        tasks.append(id)
        return SubmitItem(id: id, submission: submission, seed: 12_345_678, seedAssigned: random.chance(500), grant: offer)
    }

    private mutating func prompt() -> String { random.chance(700) ? "In the" : "Once" }

    static func generate(model: String = "demo", prompt: String = "In the") -> TaskSubmission {
        var parameters = GenerateParameters(model: model)
        parameters.prompts = [prompt]
        return TaskSubmission(parameters: .generate(parameters), submittedParams: params(model, prompt))
    }

    private static func params(_ model: String, _ prompt: String) -> [UInt8] {
        JSONValue.object(["model": .string(model), "prompt": .string(prompt)]).canonical
    }

    private mutating func finetune() -> TaskSubmission {
        let output = "out-\(newID())"
        let parameters = FinetuneParameters(base: .model("demo"), output: output, dataset: .text("a text"))
        let params: JSONObject = ["dataset": .object(["text": "a text"]), "model": "demo", "output": .string(output)]
        return TaskSubmission(parameters: .finetune(parameters), submittedParams: JSONValue.object(params).canonical)
    }

    private mutating func publication() -> ModelStore.Publication {
        var publication = ModelStore.Publication(params: Self.params(random.chance(60) ? "nobody" : "demo", prompt()))
        publication.client = Self.publisher
        publication.queue = pick(Self.queues) ?? "default"
        publication.priority = pick([0, 0, 5, 900]) ?? 0
        if random.chance(250) { publication.key = pick(keys) }
        if random.chance(250) { publication.after = someTasks() }
        if random.chance(150) { publication.runAt = start + Self.pause - 20_000 }
        return publication
    }

    // MARK: Checking

    private mutating func adopt() -> StoreRequest {
        if random.chance(100), !adopted.isEmpty { return .adopt(adopted) }
        adopted = unchecked.map { task in
            if random.chance(80) { return .reject(task: task.id, error: ContractError(.tooLarge, "too much", field: "params.n")) }
            do throws(ContractError) {
                let checked = try task.checked()
                return .accept(
                    task: task.id, parameters: checked.parameters, after: checked.after, seed: task.seed ?? checked.parameters.seed,
                    seedAssigned: task.seedAssigned)
            } catch {
                return .reject(task: task.id, error: error)
            }
        }
        unchecked = []
        return .adopt(adopted)
    }

    // MARK: Sessions

    private mutating func claim() -> StoreRequest {
        let offers = (0..<1 + random.below(2)).map { _ in
            // Each store knows the model by a digest of its own.
            PlacementOffer(
                session: session(), freeSlots: 1 + random.below(3), idle: random.chance(700),
                models: random.chance(300) ? [Bench.digest, String(repeating: "1", count: 64)] : [], numerics: Bench.numerics,
                parameters: pick([[], [], Self.names(), Self.names(without: "min_p"), Self.names(without: "num_steps")]) ?? [])
        }
        let slots = offers.reduce(0) { $0 + $1.freeSlots }
        let from = random.chance(250) ? start - 3_600_000 + Int64(random.below(80)) * 7 - Int64(random.below(4)) * 60_000 : nil
        let behind = random.chance(500) ? from.map { LinePosition(rank: $0, task: someTasks().first ?? newID()) } : nil
        return .claim(
            ClaimRequest(
                broker: broker, queue: pick(Self.queues) ?? "default", offers: offers, leases: (0..<slots).map { _ in newID() }, fromRank: from,
                behind: behind, limit: pick([1, 2, 5, 100]) ?? 100, lastClient: pick([nil, "anna", "bert", ""]) ?? nil,
                looksFarther: random.chance(300)))
    }

    /// What a worker may say it knows.
    static func names(without name: String? = nil) -> Set<String> { Set(TaskParameters.knownNames.filter { $0 != name }) }

    private mutating func beat() -> StoreRequest {
        let some = Set((0..<random.below(4)).map { _ in session() })
        return .beat(BeatRequest(broker: broker, sessions: some.sorted().map { SessionBeat(session: $0, draining: false) }))
    }

    /// With the counter as it stands, or as it stood.
    private mutating func dead() -> [DeadSession] {
        let some = Set((0..<1 + random.below(2)).map { _ in session() })
        return some.sorted().map { DeadSession(session: $0, counter: (sessions[$0] ?? 0) - (random.chance(350) ? 1 : 0)) }
    }

    // MARK: Writes under leases

    private mutating func completions() -> [Completion] {
        if random.chance(120), let old = pick(completed) { return [old] }
        let some = batch().map { lease in
            let isText = lease.kind == .generate
            let texts = isText ? random.below(3) : 0
            return Completion(
                task: lease.reference.task, lease: lease.reference.lease, attempt: lease.reference.attempt,
                result: isText ? nil : Array("{\"steps\":1}".utf8), generations: (0..<texts).map { Self.record($0) },
                generationIDs: (0..<texts).map { _ in timedID() })
        }
        completed += some
        return some
    }

    static func record(_ sample: Int, precision: Precision = .float32) -> GenerationRecord {
        GenerationRecord(
            sample: sample, promptIndex: 0, draw: 0, prompt: "In the", text: "text-\(sample)", promptTokenIDs: [1], tokenIDs: [2, 3],
            finishReason: .length, meanLogprob: -1.5, params: Array("{\"precision\":\"\(precision)\",\"rng\":\"philox\"}".utf8),
            recordSHA256: Bench.digest, numerics: "float32/1", checkpointSHA256: Bench.digest, tokenizerSHA256: Bench.digest)
    }

    private mutating func failures() -> [Failure] {
        batch().map { lease in
            Failure(
                task: lease.reference.task, lease: lease.reference.lease, attempt: lease.reference.attempt,
                error: ContractError(.modelError, "not a number"), cause: pick([.failed, .failed, .timedOut, .lost]) ?? .failed,
                final: random.chance(200), delayMilliseconds: random.chance(500) ? Self.pause : 0, epoch: epoch())
        }
    }

    private mutating func releases() -> [Release] {
        batch().map { lease in
            Release(
                task: lease.reference.task, lease: lease.reference.lease, attempt: lease.reference.attempt, reason: "drain",
                resume: random.chance(300) ? resume() : nil, delayMilliseconds: random.chance(200) ? Self.pause : 0, epoch: epoch())
        }
    }

    private mutating func checkpoints() -> [CheckpointCommit] {
        batch().map { lease in
            let record = CheckpointRecord(
                step: random.below(1000), manifest: Bench.manifest, sha256: Bench.digest, tokenizerSHA256: Bench.digest, architecture: "gpt2",
                parameters: 1000, contextLength: 64, bytes: 4000, lineByLine: false, config: Array("{}".utf8))
            return CheckpointCommit(
                task: lease.reference.task, lease: lease.reference.lease, attempt: lease.reference.attempt, id: timedID(),
                record: lease.kind == .finetune ? record : nil, resume: random.chance(700) ? resume() : nil)
        }
    }

    private mutating func resume() -> [UInt8] { Array("{\"step\":\(random.below(1000))}".utf8) }
}

// MARK: What PostgreSQL answered

extension ConformanceScript {
    mutating func heard(_ request: StoreRequest, _ reply: StoreReply) {
        switch (request, reply) {
        case (.registerSession(let registration), .done):
            sessions[registration.session] = sessions[registration.session].map { $0 + 1 } ?? 0
        case (.beat, .beaten(let beaten)):
            for counter in beaten.counters where sessions[counter.session] != nil { sessions[counter.session] = counter.counter }
        case (_, .swept(let swept)):
            for session in swept.ended { sessions[session] = nil }
            endedSessions += swept.ended
        case (_, .submitted(let outcomes)):
            for case .accepted(let tasks) in outcomes { for task in tasks { noteAccepted(task) } }
        case (_, .claimed(let claim)): claim.grants.forEach { noteLease($0) }
        case (_, .unchecked(let tasks, _)): unchecked = tasks
        case (.states(let ids), _): looks.append(ids)
        default: break
        }
    }

    mutating func published(_ task: TaskID) {
        tasks.append(task)
        accepted.insert(task)
    }

    private mutating func noteAccepted(_ task: SubmittedTask) {
        accepted.insert(task.id)
        noteLease(task.grant)
    }

    private mutating func noteLease(_ grant: Grant?) {
        guard let grant else { return }
        let reference = LeaseReference(task: grant.task, lease: grant.lease, session: grant.session, attempt: grant.attempt)
        leases.append(Lease(reference: reference, kind: grant.kind))
    }
}
