import Encodings

/// Reads the maps of `queue` and `schedule`.
struct AdministrationReader {
    let root: Node
    let reader: MemberReader

    /// The request of an op of this group; nil for any other op.
    /// - Parameter refuseOthers: refuses members of the request but those named.
    func administration(_ op: String, _ refuseOthers: ([String]) throws(ContractError) -> Void) throws(ContractError) -> Administration? {
        switch op {
        case "queues":
            try refuseOthers([])
            return .queues
        case "queue":
            try refuseOthers(["queue"])
            return .setQueue(try queue(require("queue")))
        case "schedules":
            try refuseOthers([])
            return .schedules
        case "schedule":
            try refuseOthers(["schedule"])
            return .setSchedule(try schedule(require("schedule")))
        case "unschedule":
            try refuseOthers(["name"])
            return .removeSchedule(name: try reader.name("name", require("name")))
        default: return nil
        }
    }

    private func require(_ name: String) throws(ContractError) -> Node {
        guard let node = root[name] else { throw ContractError(.badRequest, "\(name) is required", field: name) }
        return node
    }

    // MARK: Queues

    /// More than any installation runs at once.
    private static let maximumRunning: ClosedRange<Int64> = 0...1_000_000

    private func queue(_ node: Node) throws(ContractError) -> QueueChange {
        let map = try ChangeMap(node, "queue", known: ["name", "paused", "max_running", "unlimited"], reader)
        let change = QueueChange(
            name: try map.require("name", reader.name), paused: try map.optional("paused", reader.bool),
            maxRunning: try map.optional("max_running") { name, node throws(ContractError) in try reader.int(name, node, in: Self.maximumRunning) },
            unlimited: try map.optional("unlimited", reader.bool) ?? false)
        guard !change.unlimited || change.maxRunning == nil else {
            throw ContractError(.invalidArgument, "max_running and unlimited exclude each other", field: "queue.unlimited")
        }
        return change
    }

    // MARK: Schedules

    private static let scheduleMembers: Set<String> = ["name", "cron", "kind", "params", "queue", "enabled", "misfire"]
    private static let optionNames: Set<String> = ["priority", "timeout_s", "max_attempts", "tags"]

    private func schedule(_ node: Node) throws(ContractError) -> ScheduleChange {
        let map = try ChangeMap(node, "schedule", known: Self.scheduleMembers.union(Self.optionNames), reader)
        var change = ScheduleChange(
            name: try map.require("name", reader.name), cron: try map.optional("cron", cron), queue: try map.optional("queue", reader.name),
            enabled: try map.optional("enabled", reader.bool), misfire: try map.optional("misfire", reader.word))
        try setTask(&change, map)
        return change
    }

    private func cron(_ name: String, _ node: Node) throws(ContractError) -> String {
        let text = try reader.string(name, node)
        do throws(CronFault) { _ = try CronExpression(text) } catch { throw ContractError(.invalidArgument, error.description, field: name) }
        return text
    }

    /// The task that it makes, checked as one that is submitted.
    private func setTask(_ change: inout ScheduleChange, _ map: ChangeMap) throws(ContractError) {
        var options = Self.optionNames.sorted().compactMap { name in map.node[name].map { (name, $0.canonical) } }
        let task = ["kind", "params"].compactMap { name in map.node[name].map { (name, $0.canonical) } }
        guard !(options.isEmpty && task.isEmpty) else { return }
        // Options alone are read with the simplest of tasks.
        let whole = (task.isEmpty ? Self.simplest : task) + options
        let submission = try TaskSubmission.decode(ContractError.parse(json: Self.object(whole)).root, path: .schedule)
        if !task.isEmpty { (change.kind, change.params) = (submission.kind, submission.submittedParams) }
        options.removeAll { $0.1 == Array("null".utf8) }
        if !options.isEmpty { change.options = Self.object(options) }
    }

    private static let simplest = [("kind", Array("\"generate\"".utf8)), ("params", Array("{\"model\":\"m\"}".utf8))]

    private static func object(_ members: [(String, [UInt8])]) -> [UInt8] {
        var writer = JSONWriter()
        writer.beginMap(members.count)
        for (name, json) in members { writer.member(name, json: json) }
        writer.endMap()
        return writer.bytes
    }
}

/// A map inside a request, with the path of its members.
struct ChangeMap {
    let node: Node
    let path: String

    init(_ node: Node, _ path: String, known: Set<String>, _ reader: MemberReader) throws(ContractError) {
        guard node.kind == .map else { throw reader.wrongType(path, node, expected: "a map") }
        try node.forEachMember { name, value throws(ContractError) in
            if value.isNull { return }
            let text = name.stringValue ?? ""
            guard known.contains(text) else { throw reader.unknown("\(path).\(text)") }
        }
        self.node = node
        self.path = path
    }

    func require<Value>(_ name: String, _ read: (String, Node) throws(ContractError) -> Value) throws(ContractError) -> Value {
        guard let value = try optional(name, read) else { throw ContractError(.invalidArgument, "\(name) is required", field: "\(path).\(name)") }
        return value
    }

    func optional<Value>(_ name: String, _ read: (String, Node) throws(ContractError) -> Value) throws(ContractError) -> Value? {
        guard let member = node[name] else { return nil }
        return try read("\(path).\(name)", member)
    }
}

// MARK: Replies

extension AdministrationReply {
    /// The one member of its reply.
    func writeMember(to writer: inout some PayloadWriter) {
        switch self {
        case .queues(let rows): writer.list("queues", rows) { $0.write(to: &$1) }
        case .schedules(let rows): writer.list("schedules", rows) { $0.write(to: &$1) }
        case .queue(let row):
            writer.key("queue")
            row.write(to: &writer)
        case .schedule(let row):
            writer.key("schedule")
            row.write(to: &writer)
        case .done: break
        }
    }

    var memberCount: Int { if case .done = self { 0 } else { 1 } }
}

extension QueueRow {
    func write(to writer: inout some PayloadWriter) {
        writer.beginMap(5)
        writer.member("name", name)
        writer.member("paused", paused)
        writer.member("max_running", maxRunning.map(Int64.init))
        writer.member("depth", Int64(depth))
        writer.member("running", Int64(running))
        writer.endMap()
    }
}

extension ScheduleRow {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(10)
        writer.member("name", name)
        writer.member("cron", cron)
        writer.member("kind", kind)
        writer.member("params", json: params)
        writer.member("queue", queue)
        writer.member("enabled", enabled)
        writer.member("misfire", misfire)
        writer.member("options", json: options)
        writer.member("last_run_at", lastRunAt.map(Timestamp.text(milliseconds:)))
        writer.member("next_run_at", nextRunAt.map(Timestamp.text(milliseconds:)))
        writer.endMap()
    }
}
