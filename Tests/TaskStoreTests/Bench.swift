import DatabaseTestSupport
import Encodings
import TaskProtocol
import TaskStore
import Testing

/// A database with a broker, a worker's session and a model in it, and short words for what tests do with them.
final class Bench {
    /// What the product is given: a login with a broker's rights and no more.
    let url: String
    /// The schema's owner, for what tests do by hand.
    let ownerURL: String
    let connection: StoreConnection
    private let product: StoreConnection
    let broker = BrokerID.random()
    let session = SessionID.random()
    let checkpoint: CheckpointID
    static let digest = String(repeating: "ab", count: 32)
    static let numerics = ["float32/1"]
    static let manifest = String(repeating: "cd", count: 32)

    struct Surprise: Error, CustomStringConvertible { let description: String }

    /// - Parameter ownerURL: a migrated database, as its owner sees it; a new one otherwise.
    init(ownerURL given: String? = nil) throws {
        ownerURL = try given ?? TemporaryCluster.shared.database()
        url = TemporaryCluster.url(ownerURL, as: .broker)
        connection = try StoreConnection(ownerURL)
        product = try StoreConnection(url)
        checkpoint = UUIDValue.version7(milliseconds: 1_790_000_000_000)
        let store = StoreSession(product)
        _ = store.perform(
            .registerBroker(
                BrokerRegistration(id: broker, host: "here", pid: 1, version: "0", endpoints: ["tasks": "tcp://127.0.0.1:1"], publicKey: nil)))
        try register(session)
        _ = store.perform(.registerModel(Self.model("demo", checkpoint: checkpoint)))
    }

    /// A connection of somebody who keeps a transaction open for as long as he likes: a broker's ends by itself.
    static func patient(_ url: String) throws -> StoreConnection {
        let connection = try StoreConnection(url)
        try connection.execute("SET idle_in_transaction_session_timeout = 0")
        return connection
    }

    static func model(_ name: String, checkpoint: CheckpointID, sha256: String = digest) -> ModelRegistration {
        ModelRegistration(
            name: name, checkpointID: checkpoint, manifest: manifest, sha256: sha256, tokenizerSHA256: nil, architecture: "gpt2", parameters: 1000,
            contextLength: 64, bytes: 4000, lineByLine: false, config: Array("{\"n_layer\":1}".utf8))
    }

    func ask(_ request: StoreRequest, on other: StoreConnection? = nil) -> StoreReply { StoreSession(other ?? product).perform(request) }

    func register(
        _ session: SessionID, numerics: [String] = Bench.numerics, parameters: [String] = [], epoch: Int = 0
    ) throws {
        let reply = ask(
            .registerSession(
                SessionRegistration(
                    session: session, broker: broker, host: "there", pid: 2, version: "0", numerics: numerics, instructionSet: "plain",
                    threads: 1, slots: 8, parameters: parameters, epoch: epoch)))
        guard reply == .done else { throw Surprise(description: "\(reply)") }
    }

    // MARK: Submitting

    func generate(_ model: String = "demo", prompt: String = "In the") -> TaskSubmission {
        var parameters = GenerateParameters(model: model)
        parameters.prompts = [prompt]
        let params: JSONObject = ["model": .string(model), "prompt": .string(prompt)]
        return TaskSubmission(parameters: .generate(parameters), submittedParams: JSONValue.object(params).canonical)
    }

    func finetune(base: String = "demo", output: String, overwrite: Bool = false) -> TaskSubmission {
        var parameters = FinetuneParameters(base: .model(base), output: output, dataset: .text("a text"))
        parameters.overwrite = overwrite
        var params: JSONObject = ["dataset": .object(["text": "a text"]), "model": .string(base), "output": .string(output)]
        if overwrite { params["overwrite"] = true }
        return TaskSubmission(parameters: .finetune(parameters), submittedParams: JSONValue.object(params).canonical)
    }

    func newID() -> TaskID { UUIDValue.version7(milliseconds: now()) }

    func now() -> Int64 {
        let statement = Statement("test_now", "SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        return (try? connection.run(statement).requireInt(0, 0)) ?? 0
    }

    func item(_ submission: TaskSubmission? = nil, id: TaskID? = nil, lease: LeaseID? = nil, session: SessionID? = nil) -> SubmitItem {
        SubmitItem(
            id: id ?? newID(), submission: submission ?? generate(), seed: 12_345_678, seedAssigned: true,
            grant: lease.map { GrantOffer(session: session ?? self.session, lease: $0, broker: broker) })
    }

    func outcomes(_ groups: [SubmitGroup]) throws -> [SubmitOutcome] {
        let reply = ask(.submit(groups))
        guard case .submitted(let outcomes) = reply else { throw Surprise(description: "\(reply)") }
        return outcomes
    }

    /// Submits items as one request; they must be accepted.
    @discardableResult
    func submit(_ items: [SubmitItem]) throws -> [SubmittedTask] {
        let outcome = try outcomes([SubmitGroup(items: items, client: "test")])[0]
        guard case .accepted(let tasks) = outcome else { throw Surprise(description: "\(outcome)") }
        return tasks
    }

    /// Submits one task leased at once.
    func running(_ submission: TaskSubmission? = nil, session: SessionID? = nil) throws -> Grant {
        let tasks = try submit([item(submission, lease: .random(), session: session)])
        guard let grant = tasks[0].grant else { throw Surprise(description: "not granted: \(tasks)") }
        return grant
    }

    // MARK: Working

    func claim(
        _ queue: String = "default", slots: Int = 8, limit: Int = 1000, fromRank: Int64? = nil, session: SessionID? = nil,
        numerics: [String] = Bench.numerics, parameters: Set<String> = [], on other: StoreConnection? = nil
    ) throws -> ClaimReply {
        let offer = PlacementOffer(
            session: session ?? self.session, freeSlots: slots, idle: true, models: [], numerics: numerics, parameters: parameters)
        let reply = ask(
            .claim(
                ClaimRequest(
                    broker: broker, queue: queue, offers: [offer], leases: (0..<slots).map { _ in .random() }, fromRank: fromRank, limit: limit)),
            on: other)
        guard case .claimed(let claim) = reply else { throw Surprise(description: "\(reply)") }
        return claim
    }

    func record(_ sample: Int = 0, text: String = "In the beginning") -> GenerationRecord {
        GenerationRecord(
            sample: sample, promptIndex: 0, draw: 0, prompt: "In the", text: text, promptTokenIDs: [1, 2], tokenIDs: [3, 4, 5], finishReason: .length,
            meanLogprob: -1.5, params: Array("{\"precision\":\"float32\",\"return_token_ids\":true,\"rng\":\"philox\"}".utf8),
            recordSHA256: Self.digest, numerics: "float32/1", checkpointSHA256: Self.digest, tokenizerSHA256: Self.digest)
    }

    func completion(_ grant: Grant, texts: Int = 1) -> Completion {
        Completion(
            task: grant.task, lease: grant.lease, attempt: grant.attempt, generations: (0..<texts).map { record($0) },
            generationIDs: (0..<texts).map { _ in newID() })
    }

    func complete(_ completions: [Completion]) throws -> [Settlement] {
        let reply = ask(.complete(completions))
        guard case .completed(let replies) = reply else { throw Surprise(description: "\(reply)") }
        return replies.map(\.settlement)
    }

    func settle(_ request: StoreRequest) throws -> [SettlementReply] {
        let reply = ask(request)
        guard case .settled(let replies) = reply else { throw Surprise(description: "\(reply)") }
        return replies
    }

    func failure(_ grant: Grant, final: Bool = false, cause: Failure.Cause = .failed, delay: Int64 = 0) -> Failure {
        Failure(
            task: grant.task, lease: grant.lease, attempt: grant.attempt, error: ContractError(.modelError, "a logit is not a number"),
            cause: cause, final: final, delayMilliseconds: delay)
    }

    // MARK: Looking

    func status(_ id: TaskID, results: Bool = true) throws -> TaskStatus {
        let reply = ask(.get([id], results: results))
        guard case .statuses(let statuses) = reply, let status = statuses.first else { throw Surprise(description: "\(reply)") }
        return status
    }

    func state(_ id: TaskID) throws -> TaskState? {
        guard case .outlines(let outlines) = ask(.states([id])) else { throw Surprise(description: "no outlines") }
        return outlines[0]?.state
    }

    /// The ends of tasks as they stand, for a retry to name.
    func ends(_ ids: [TaskID]) throws -> [SeenEnd] {
        guard case .outlines(let outlines) = ask(.states(ids)) else { throw Surprise(description: "no outlines") }
        return try outlines.map { outline in
            guard let outline, let endedAt = outline.endedAt else { throw Surprise(description: "not ended: \(outline as Any)") }
            return SeenEnd(task: outline.id, attempt: outline.attempt, endedAt: endedAt)
        }
    }

    func due() throws -> DueReply {
        let reply = ask(.dueSweep())
        guard case .due(let due) = reply else { throw Surprise(description: "\(reply)") }
        return due
    }

    /// One value of one row, as text.
    func value(_ sql: String, on other: StoreConnection? = nil) throws -> String? {
        let rows = try (other ?? connection).run(Statement("q\(sql.hashValue)", "SELECT (\(sql))::text"))
        return rows.string(0, 0)
    }
}

/// A reply of another case than the test asked for.
func unexpected(_ location: SourceLocation = #_sourceLocation) { Issue.record("another reply than asked for", sourceLocation: location) }
