import Foundation
import QueueSimulation
import TaskProtocol
import Testing

/// Which of the two a case is put to.
enum StoreKind: String, CaseIterable, CustomTestStringConvertible {
    case model, postgreSQL
    var testDescription: String { rawValue }
}

/// One store, with a broker and a session, and short words for what cases do with it.
final class ConformanceBench {
    private let store: any ConformingStore
    let broker = BrokerID.random()
    let session = SessionID.random()
    private var lastID: Int64 = 0

    init(_ kind: StoreKind) throws {
        store =
            switch kind {
            case .model: ModelUnderTest()
            case .postgreSQL: try PostgreSQLUnderTest()
            }
        register(session)
    }

    @discardableResult
    func ask(_ request: StoreRequest) -> StoreReply { store.perform(request, now: Self.now()) }

    static func now() -> Int64 { Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)) }

    func register(_ session: SessionID, epoch: Int = 0) { _ = registered(session, epoch: epoch) }

    func registered(_ session: SessionID, epoch: Int, key: String? = nil, broker other: BrokerID? = nil) -> StoreReply {
        ask(
            .registerSession(
                SessionRegistration(
                    session: session, broker: other ?? broker, host: "h", pid: 1, version: "0", numerics: [], instructionSet: "plain",
                    threads: 1, slots: 8, epoch: epoch, publicKey: key)))
    }

    /// Ids of the last hour, in the order asked for.
    func newID() -> TaskID {
        lastID += 1
        return UUIDValue.version7(milliseconds: Self.now() - 3_600_000 + lastID)
    }

    func item(_ submission: TaskSubmission = ConformanceScript.generate(), lease: Bool = false) -> SubmitItem {
        SubmitItem(
            id: newID(), submission: submission, seed: 1, seedAssigned: true,
            grant: lease ? GrantOffer(session: session, lease: .random(), broker: broker) : nil)
    }

    @discardableResult
    func submit(_ items: [SubmitItem]) throws -> [SubmittedTask] {
        guard case .submitted(let outcomes) = ask(.submit([SubmitGroup(items: items)])), case .accepted(let tasks) = outcomes[0] else {
            throw Bench.Surprise(description: "not accepted")
        }
        return tasks
    }

    func running(_ submission: TaskSubmission = ConformanceScript.generate()) throws -> Grant {
        try #require(try submit([item(submission, lease: true)])[0].grant)
    }

    func claim(
        _ slots: Int = 8, session: SessionID? = nil, numerics: [String] = Bench.numerics, parameters: Set<String> = []
    ) throws -> [Grant] {
        let offer = PlacementOffer(
            session: session ?? self.session, freeSlots: slots, idle: true, models: [], numerics: numerics, parameters: parameters)
        let request = ClaimRequest(
            broker: broker, queue: "default", offers: [offer], leases: (0..<slots).map { _ in .random() }, fromRank: nil, limit: 100)
        guard case .claimed(let reply) = ask(.claim(request)) else { throw Bench.Surprise(description: "no claim") }
        return reply.grants
    }

    func complete(_ grants: [Grant], precision: Precision = .float32) throws -> [SettlementReply] {
        let completions = grants.map {
            Completion(
                task: $0.task, lease: $0.lease, attempt: $0.attempt, generations: [ConformanceScript.record(0, precision: precision)],
                generationIDs: [newID()])
        }
        guard case .completed(let replies) = ask(.complete(completions)) else { throw Bench.Surprise(description: "not completed") }
        return replies
    }

    func settle(_ request: StoreRequest) throws -> [SettlementReply] {
        guard case .settled(let replies) = ask(request) else { throw Bench.Surprise(description: "not settled") }
        return replies
    }

    func failure(_ grant: Grant, final: Bool = false, delay: Int64 = 0) -> StoreRequest {
        .fail([
            Failure(
                task: grant.task, lease: grant.lease, attempt: grant.attempt, error: ContractError(.modelError, "not a number"), cause: .failed,
                final: final, delayMilliseconds: delay)
        ])
    }

    /// Sweeps a session whose counter stands still.
    func lose(_ session: SessionID) throws -> SweepReply {
        guard case .beaten(let beaten) = ask(.beat(BeatRequest(broker: broker, sessions: []))),
            let counter = beaten.counters.first(where: { $0.session == session })?.counter,
            case .swept(let swept) = ask(.sweep([DeadSession(session: session, counter: counter)]))
        else { throw Bench.Surprise(description: "not swept") }
        return swept
    }

    /// A retry of the ends as they stand.
    func retry(_ tasks: [TaskID]) throws -> StoreRequest {
        guard case .outlines(let outlines) = ask(.states(tasks)) else { throw Bench.Surprise(description: "no outlines") }
        return .retry(
            try outlines.map { outline in
                guard let outline, let endedAt = outline.endedAt else { throw Bench.Surprise(description: "not ended") }
                return SeenEnd(task: outline.id, attempt: outline.attempt, endedAt: endedAt)
            })
    }

    func due() throws -> DueReply {
        guard case .due(let due) = ask(.dueSweep()) else { throw Bench.Surprise(description: "no sweep") }
        return due
    }

    func bringForward() throws { try store.bringForward(milliseconds: ConformanceScript.leap) }

    func row(_ task: TaskID) throws -> ConformanceRow { try #require(try store.rows(of: [task]).first) }

    func state(_ task: TaskID) throws -> String { try row(task).state }
}
