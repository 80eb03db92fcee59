package import TaskProtocol

/// The months of history: made ahead, and dropped when they are over for long enough.
///
/// One broker acts at a time: the one that gets an advisory lock, which its connection holds for the length of the look. Each month goes in a
/// transaction of its own. What is left over when a broker dies on the way is found by the next look.
extension StoreSession {
    private static let elect = Statement("elect_retention", "SELECT pg_try_advisory_lock(hashtextextended('scriptorium.retention', 0))")
    private static let stepDown = Statement("end_retention", "SELECT pg_advisory_unlock(hashtextextended('scriptorium.retention', 0))")

    /// Somewhat less than brokers wait between two looks, so that one broker alone never finds its own last one.
    private static let wasLookedAt = Statement(
        "retention_looked_at",
        """
        SELECT EXISTS (
            SELECT FROM retention r
            WHERE r.history = $1::text AND r.keep = $2::bigint * interval '1 second' AND r.looked_at > now() - interval '4 minutes'
        )
        """)
    private static let lookedAt = Statement(
        "retention_look",
        """
        INSERT INTO retention (history, keep, looked_at) VALUES ($1::text, $2::bigint * interval '1 second', now())
        ON CONFLICT (history) DO UPDATE SET keep = excluded.keep, looked_at = excluded.looked_at
        """)
    private static let expired = Statement(
        "expired_months", "SELECT e.month::text, e.task, e.state, e.child FROM expired_months($1::text, $2::bigint * interval '1 second') e")
    private static let drop = Statement("drop_month", "SELECT drop_month($1::text, $2::text::date, $3::bigint * interval '1 second')")
    private static let forget = Statement("forget_dropped", "SELECT forget_dropped($1::int)")
    /// Keys and side rows that one request deletes at most.
    private static let forgottenAtOnce = 20_000

    func retain(_ policy: RetentionPolicy) throws(StoreError) -> RetentionReply {
        guard try connection.run(Self.elect).bool(0, 0) else { return RetentionReply() }
        // On a connection that is lost the lock is free already.
        defer { _ = try? connection.run(Self.stepDown) }
        try makePartitions()
        var reply = RetentionReply()
        for (history, keep) in [(History.tasks, policy.tasksSeconds), (.generations, policy.generationsSeconds)] {
            guard let keep, try !connection.run(Self.wasLookedAt, [.text(history.rawValue), .int(keep)]).bool(0, 0) else { continue }
            try drop(history, keep: keep, into: &reply)
        }
        // Whoever looked: what is left of an earlier look's months goes on.
        if policy.tasksSeconds != nil {
            reply.hasMore = try connection.run(Self.forget, [.int32(Self.forgottenAtOnce)]).requireInt(0, 0) >= Self.forgottenAtOnce
        }
        return reply
    }

    private func drop(_ history: History, keep: Int64, into reply: inout RetentionReply) throws(StoreError) {
        reply.looked = true
        for held in try expired(history, keep: keep) {
            if let task = held.task {
                reply.held.append(HeldMonth(month: held.month, task: task, state: held.state, child: held.child))
                continue
            }
            switch try drop(held.month, keep: keep) {
            case .dropped: reply.dropped.append(held.month)
            case .refused(let reason): reply.refused.append(RefusedMonth(month: held.month, reason: reason))
            case .busy:
                // Whoever reads one month holds the lock that all of them need, and everybody waits behind each try: no more of them now.
                reply.busy.append(held.month)
                return
            }
        }
        _ = try connection.run(Self.lookedAt, [.text(history.rawValue), .int(keep)])
    }

    private typealias ExpiredMonth = (month: HistoryMonth, task: TaskID?, state: String?, child: TaskID?)

    private func expired(_ history: History, keep: Int64) throws(StoreError) -> [ExpiredMonth] {
        let rows = try connection.run(Self.expired, [.text(history.rawValue), .int(keep)])
        var months: [ExpiredMonth] = []
        for row in rows.indices {
            let month = HistoryMonth(history: history, firstDay: try rows.requireString(row, 0))
            months.append((month, rows.uuid(row, 1), rows.string(row, 2), rows.uuid(row, 3)))
        }
        return months
    }

    /// What became of an attempt to drop a month. One that a task came to hold since it was looked at is busy: the next look says what holds it.
    private enum Drop { case dropped, busy, refused(String) }

    private func drop(_ month: HistoryMonth, keep: Int64) throws(StoreError) -> Drop {
        do throws(StoreError) {
            let done = try connection.run(Self.drop, [.text(month.history.rawValue), .text(month.firstDay), .int(keep)])
            return try done.requireString(0, 0) == "dropped" ? .dropped : .busy
        } catch {
            switch error {
            case .refused: return .refused(error.description)
            case .lockTimeout, .statementTimeout, .collision: return .busy
            default: throw error
            }
        }
    }

    private static let policies = Statement(
        "retention_policies",
        "SELECT history, extract(epoch FROM keep)::bigint FROM retention WHERE looked_at > now() - interval '1 hour' ORDER BY history DESC")

    /// See ``StoreConnection/heldMonths()``.
    func heldMonths() throws(StoreError) -> [HeldMonth] {
        let policies = try connection.run(Self.policies)
        var held: [HeldMonth] = []
        for row in policies.indices {
            guard let history = History(rawValue: try policies.requireString(row, 0)) else { continue }
            for month in try expired(history, keep: try policies.requireInt(row, 1)) {
                guard let task = month.task else { continue }
                held.append(HeldMonth(month: month.month, task: task, state: month.state, child: month.child))
            }
        }
        return held
    }
}

extension StoreConnection {
    /// The months that tasks hold back from what brokers were told to drop within the last hour; for `scriptorium doctor`.
    package func heldMonths() throws(StoreError) -> [HeldMonth] { try StoreSession(self).heldMonths() }
}

extension SessionSetup {
    /// For looking at the months of history.
    package static let history = SessionSetup(
        sql:
            "SET search_path = scriptorium, pg_catalog, pg_temp; SET TimeZone = 'UTC'; SET client_min_messages = error; SET statement_timeout = '60s'"
    )
}
