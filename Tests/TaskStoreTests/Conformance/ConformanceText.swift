import Encodings
import TaskProtocol

/// Says a reply in words that are the same for both stores, leaving out what may differ.
struct ConformanceText {
    /// When the script began, by the machine's clock, which is PostgreSQL's too.
    let start: Int64
    /// Of a beat only these: other tests of the database have none, but the bench has a session and a broker of its own.
    var sessions: Set<SessionID> = []
    var brokers: Set<BrokerID> = []

    /// Times that the script chose are exact. What a store made of its own present comes a little later than the model's: it is told by the minute,
    /// and scripts choose no times near to it.
    func time(_ milliseconds: Int64?) -> String {
        guard let milliseconds else { return "-" }
        let since = milliseconds - start
        if (-5_400_000 ..< -1_800_000).contains(since) { return "\(since)ms" }
        return "\((since + 5_000 + 6_000_000_000) / 60_000 - 100_000)min"
    }

    /// Messages are for people, and may differ.
    private func error(_ error: ContractError?) -> String { error.map { "\($0.code.rawValue)@\($0.field ?? "-")" } ?? "-" }

    private func json(_ bytes: [UInt8]?) -> String {
        guard let bytes else { return "-" }
        guard let value = try? JSONValue.parse(bytes) else { return "not JSON: \(String(decoding: bytes, as: UTF8.self))" }
        return String(decoding: value.canonical, as: UTF8.self)
    }

    /// The digests of models are of each store's own making.
    private func pinned(_ resolved: [UInt8]) -> String {
        do {
            let task = try ResolvedTask.decode(resolved)
            return "\(task.kind) \(task.model?.name ?? "-") \(task.seed) \(task.seedAssigned)"
        } catch {
            return "\(error)"
        }
    }

    /// Without the digest.
    private func key(_ modelKey: String?) -> String { modelKey.map { "known" + $0.dropFirst(64) } ?? "-" }

    /// How long a task waited depends on the hour; that it is told does not.
    private func grant(_ grant: Grant?) -> String {
        guard let grant else { return "-" }
        return "[\(grant.task) \(grant.lease) of \(grant.session) attempt \(grant.attempt) failures \(grant.failures) \(grant.kind) \(grant.queue)"
            + " isolated \(grant.isolated) at most \(grant.maxAttempts) timeout \(grant.timeoutSeconds ?? 0) \(pinned(grant.resolved))"
            + " resume \(json(grant.resume)) waited \(grant.waitedMilliseconds != nil) model \(key(grant.modelKey))]"
    }

    private func reference(_ reference: LeaseReference?) -> String {
        reference.map { "[\($0.task) \($0.lease) of \($0.session?.description ?? "-") attempt \($0.attempt)]" } ?? "-"
    }

    private func ready(_ task: ReadyTask) -> String { "\(task.task) \(task.queue) \(time(task.rank))" }
    private func ended(_ task: EndedTask) -> String { "\(task.task) \(task.attempt) \(task.state) \(error(task.error))" }
    private func outline(_ task: TaskOutline?) -> String {
        // Ends have moments of each store's own.
        task.map { "\($0.id) \($0.kind) \($0.queue) \($0.state) \($0.attempt) \(error($0.error)) ended \($0.endedAt != nil)" } ?? "-"
    }

    private func settlement(_ settlement: Settlement) -> String {
        switch settlement {
        case .recorded(let state, let error): "recorded \(state) \(self.error(error))"
        case .alreadyRecorded(let state, let error): "already \(state) \(self.error(error))"
        case .requeued(let task, let runAt): "requeued \(ready(task)) at \(time(runAt))"
        case .stale: "stale"
        case .fenced: "fenced"
        }
    }

    /// What ends bring about is told member by member by the model, once for the whole batch by the store.
    private func settlements(_ replies: [SettlementReply]) -> String {
        replies.map { settlement($0.settlement) }.joined(separator: "; ")
            + " | unblocked \(replies.reduce(0) { $0 + $1.unblocked }) ended \(replies.flatMap(\.ended).map(ended).sorted())"
    }

    private func outcome(_ outcome: SubmitOutcome) -> String {
        switch outcome {
        case .accepted(let tasks):
            tasks.map { "\($0.id) \($0.state) \($0.duplicate) \($0.queue) \(time($0.rank)) \(grant($0.grant))" }.joined(separator: "; ")
        case .refused(let item, let error): "refused \(item) \(self.error(error))"
        case .busy: "busy"
        }
    }

    private func claim(_ reply: ClaimReply) -> String {
        "\(reply.queue) \(reply.grants.map { grant($0) }) exhausted \(reply.exhausted) low water \(time(reply.lowWater)) unplaced \(reply.unplaced)"
            + " seen \(reply.lastSeen.map { "\(time($0.rank)) \($0.task)" } ?? "-") held back \(reply.heldBack) last \(reply.lastClient ?? "-")"
    }

    private func beat(_ reply: BeatReply) -> String {
        let counters = reply.counters.filter { sessions.contains($0.session) }
            .map { "\($0.session)=\($0.counter) by \($0.broker?.description ?? "-")" }
        let rows = reply.brokers.filter { brokers.contains($0.id) }.map { "\($0.id)=\($0.counter) \($0.peersEndpoint ?? "-")" }
        return "unknown \(reply.unknown) counters \(counters) cancels \(reply.cancels.map(reference).sorted()) known \(reply.brokerKnown) \(rows)"
    }

    private func due(_ reply: DueReply) -> String {
        let queues = reply.queues.map { "\($0.name) \(time($0.oldestRank)) \($0.paused) \($0.maxRunning ?? -1)" }
        return "ready \(reply.ready.map(ready).sorted()) ended \(reply.ended.map(ended).sorted()) next \(time(reply.nextDueMilliseconds))"
            + " unchecked \(reply.unchecked) queues \(queues) cancels \(reply.cancels.map(reference).sorted())"
    }

    /// The seed that SQL draws is by chance, and stands in the params, too.
    private func unchecked(_ task: UncheckedTask) -> String {
        let given: String
        do {
            let checked = try task.checked()
            let prompts = if case .generate(let generate) = checked.parameters { "\(generate.model) \(generate.prompts)" } else { "-" }
            given =
                "\(checked.kind) \(checked.queue) \(checked.priority) \(checked.key ?? "-") \(time(checked.runAt)) \(checked.maxAttempts)"
                + " \(checked.timeoutSeconds ?? 0) after \(checked.after) \(prompts)"
        } catch {
            given = self.error(error)
        }
        return "\(task.id) misfit \(task.isMisfit) seed \(task.seed != nil) \(task.seedAssigned) \(given)"
    }

    /// `waiting_for`, times of starts and ends, and results as clients read them are not modelled.
    private func status(_ task: TaskStatus) -> String {
        let error = task.error.map { ContractError(json: $0) }
        return "\(task.id) \(task.kind) \(task.queue) \(task.state) \(task.priority) \(task.key ?? "-") \(task.attempt) \(time(task.runAt))"
            + " \(time(task.createdAt)) \(self.error(error ?? nil))"
    }

    func words(_ reply: StoreReply) -> String {
        switch reply {
        case .submitted(let outcomes): outcomes.map(outcome).joined(separator: "\n  ")
        case .claimed(let reply): claim(reply)
        case .beaten(let reply): beat(reply)
        case .swept(let reply):
            "ended \(reply.ended) settled \(reply.settled.map { reference($0.reference) + " " + settlement($0.settlement) }.sorted())"
        case .leases(let leases): "\(leases.map { grant($0.grant) + ($0.cancelRequested ? " cancel" : "") })"
        case .completed(let replies), .settled(let replies): settlements(replies)
        case .cancelled(let replies):
            "\(replies.map { "\($0.task) \($0.state) \($0.attempt) \($0.changed) \(reference($0.running))" })"
        case .retried(let outlines): "\(outlines.map { outline($0) })"
        case .statuses(let statuses): "\(statuses.map(status))"
        case .outlines(let outlines): "\(outlines.map(outline))"
        case .unchecked(let tasks, let isCut): "\(tasks.map(unchecked)) \(isCut)"
        case .adopted(let reply): "ready \(reply.ready.map(ready).sorted()) ended \(reply.ended.map(ended).sorted()) aside \(reply.setAside)"
        case .due(let reply): due(reply)
        case .refused(let error): "refused \(self.error(error))"
        default: "\(reply)"
        }
    }

    func words(_ row: ConformanceRow) -> String {
        "\(row.task) \(row.state) attempt \(row.attempt) failures \(row.failures) losses \(row.losses) block \(row.block ?? "-")"
            + " \(row.lease?.description ?? "-") \(row.session?.description ?? "-") cancel \(row.cancelRequested) \(time(row.rank)) \(time(row.runAt))"
            + " {\(row.endings)} {\(row.texts)} {\(row.checkpoints)} \(json(row.resume)) \(row.errorCode ?? "-")@\(row.errorField ?? "-")"
            + " pinned \(row.isPinned)"
    }
}
