internal import TaskProtocol

/// Periodic tasks: which are due, and their settings.
extension StoreSession {
    // MARK: Ticks

    private static let due = Statement(
        "due_schedules",
        """
        SELECT s.name FROM schedules s
        WHERE s.enabled AND (s.next_run_at IS NULL OR s.next_run_at <= now())
        ORDER BY s.next_run_at NULLS FIRST, s.name LIMIT 1000
        """)
    /// Of several brokers one gets the row; the others find it done, or locked.
    private static let take = Statement(
        "take_schedule",
        """
        SELECT s.cron, s.misfire, floor(extract(epoch FROM s.next_run_at) * 1000)::bigint, floor(extract(epoch FROM now()) * 1000)::bigint
        FROM schedules s
        WHERE s.name = $1::text AND s.enabled AND (s.next_run_at IS NULL OR s.next_run_at <= now())
        FOR UPDATE SKIP LOCKED
        """)
    private static let tick = Statement(
        "tick_schedule",
        """
        WITH t AS MATERIALIZED (
            INSERT INTO schedule_ticks (schedule, tick, task)
            SELECT $1::text, to_timestamp(v.tick / 1000.0), uuid_v7() FROM unnest($2::bigint[]) AS v (tick)
            ON CONFLICT DO NOTHING
            RETURNING tick, task
        )
        SELECT publish(
            t.task,
            s.options || jsonb_build_object(
                'kind', s.kind, 'params', s.params, 'queue', s.queue,
                'tags', CASE WHEN jsonb_typeof(s.options -> 'tags') = 'object' THEN s.options -> 'tags' ELSE '{}' END
                    || jsonb_build_object('schedule', s.name, 'tick', to_char(t.tick, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))),
            'schedule')
        FROM t CROSS JOIN (SELECT * FROM schedules WHERE schedules.name = $1::text) s
        ORDER BY t.tick
        """)
    private static let advance = Statement(
        "advance_schedule",
        """
        UPDATE schedules SET
            next_run_at = to_timestamp($2::bigint / 1000.0), last_run_at = coalesce(to_timestamp($3::bigint / 1000.0), last_run_at)
        WHERE name = $1::text
        """)
    private static let forgetTicks = Statement(
        "forget_ticks",
        "DELETE FROM schedule_ticks WHERE schedule = $1::text AND tick < least(now(), to_timestamp($2::bigint / 1000.0)) - interval '7 days'")

    /// How long a schedule waits, in milliseconds, for a task that it names and somebody's open transaction holds: all that is due waits with it.
    private static let patience = 50

    /// Makes the tasks of all ticks that are due, each schedule in a transaction of its own: what one of them asks in vain keeps no other, and nothing
    /// else that is due, waiting.
    /// - Returns: the schedules whose tasks cannot be made: their cron expression is of a later version, or the database refuses what stands in their rows.
    func runSchedules() throws(StoreError) -> [String] {
        let names = try connection.run(Self.due)
        var unreadable: [String] = []
        for row in names.indices {
            let name = try names.requireString(row, 0)
            do throws(StoreError) {
                let isReadable = try connection.transaction { () throws(StoreError) in
                    try connection.execute("SET LOCAL lock_timeout = '\(Self.patience)ms'", name: "schedule_timeout")
                    return try runSchedule(name)
                }
                if !isReadable { unreadable.append(name) }
            } catch {
                switch error {
                // Somebody holds one of the tasks that it is to wait for.
                case .lockTimeout: continue
                case .refused: unreadable.append(name)
                default: throw error
                }
            }
        }
        return unreadable
    }

    /// - Returns: false where its cron expression cannot be read.
    private func runSchedule(_ name: String) throws(StoreError) -> Bool {
        let rows = try connection.run(Self.take, [.text(name)])
        guard rows.count > 0 else { return true }
        guard let cron = try? CronExpression(try rows.requireString(0, 0)) else { return false }
        let misfire = Misfire(rawValue: try rows.requireString(0, 1)) ?? .one
        let plan = SchedulePlan(cron, misfire: misfire, next: rows.int(0, 2), now: try rows.requireInt(0, 3))
        if let last = plan.ticks.last {
            _ = try connection.run(Self.tick, [.text(name), .ints(plan.ticks)])
            _ = try connection.run(Self.forgetTicks, [.text(name), .int(last)])
        }
        _ = try connection.run(Self.advance, [.text(name), .int(plan.next), .int(plan.ticks.last)])
        return true
    }

    // MARK: Settings

    private static let list = Statement(
        "list_schedules",
        """
        SELECT s.name, s.cron, s.kind, convert_to(s.params::text, 'UTF8'), s.queue, s.enabled, s.misfire, convert_to(s.options::text, 'UTF8'),
            CASE WHEN isfinite(s.last_run_at) THEN floor(extract(epoch FROM s.last_run_at) * 1000)::bigint END,
            CASE WHEN isfinite(s.next_run_at) THEN floor(extract(epoch FROM s.next_run_at) * 1000)::bigint END
        FROM schedules s WHERE $1::text IS NULL OR s.name = $1::text ORDER BY s.name
        """)
    private static let change = Statement(
        "change_schedule",
        """
        UPDATE schedules SET
            cron = coalesce($2::text, cron), kind = coalesce($3::text, kind), params = coalesce($4::text::jsonb, params),
            queue = coalesce($5::text, queue), enabled = coalesce($6::bool, enabled), misfire = coalesce($7::text, misfire),
            options = coalesce($8::text::jsonb, options)
        WHERE name = $1::text
        """)
    private static let add = Statement(
        "add_schedule",
        """
        INSERT INTO schedules (name, cron, kind, params, queue, enabled, misfire, options)
        VALUES (
            $1::text, $2::text, $3::text, $4::text::jsonb, coalesce($5::text, 'default'), coalesce($6::bool, true), coalesce($7::text, 'one'),
            coalesce($8::text::jsonb, '{}')
        )
        ON CONFLICT (name) DO NOTHING
        """)
    private static let remove = Statement("remove_schedule", "DELETE FROM schedules WHERE name = $1::text")

    /// - Parameter name: nil lists all.
    func schedules(named name: String? = nil) throws(StoreError) -> [ScheduleRow] {
        let rows = try connection.run(Self.list, [.text(name)])
        var found: [ScheduleRow] = []
        for row in rows.indices {
            found.append(
                ScheduleRow(
                    name: try rows.requireString(row, 0), cron: try rows.requireString(row, 1), kind: try rows.requireString(row, 2),
                    params: try rows.requireBytes(row, 3), queue: try rows.requireString(row, 4), enabled: try rows.bool(row, 5),
                    misfire: try rows.requireString(row, 6), options: try rows.requireBytes(row, 7), lastRunAt: rows.int(row, 8),
                    nextRunAt: rows.int(row, 9)))
        }
        return found
    }

    /// Changes a schedule, or makes it. Two that make it at once: the second finds the first's row, and changes it.
    func setSchedule(_ change: ScheduleChange) throws(StoreError) -> StoreReply {
        let values: [StatementParameter] = [
            .text(change.name), .text(change.cron), .text(change.kind?.rawValue), .bytes(change.params), .text(change.queue),
            change.enabled.map { .bool($0) } ?? .null, .text(change.misfire?.rawValue), .bytes(change.options),
        ]
        return try connection.transaction { () throws(StoreError) in
            if try connection.run(Self.change, values).affected == 0 {
                for (member, isMissing) in [("cron", change.cron == nil), ("kind", change.kind == nil)] where isMissing {
                    return .refused(ContractError(.invalidArgument, "a new schedule needs its \(member)", field: "schedule.\(member)"))
                }
                if try connection.run(Self.add, values).affected == 0 { _ = try connection.run(Self.change, values) }
            }
            guard let row = try schedules(named: change.name).first else { throw .unexpectedRow(statement: Self.list.name, column: 0) }
            return .administered(.schedule(row))
        }
    }

    func removeSchedule(_ name: String) throws(StoreError) -> StoreReply {
        guard try connection.run(Self.remove, [.text(name)]).affected > 0 else {
            return .refused(ContractError(.notFound, "there is no schedule of this name", field: "name"))
        }
        return .administered(.done)
    }
}
