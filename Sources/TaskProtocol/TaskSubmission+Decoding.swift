package import Encodings

extension TaskSubmission {
    /// Limits of the contract for a task's own members.
    package enum Limits {
        package static let priority: ClosedRange<Int64> = -100...100
        package static let keyBytes = 256
        package static let maxAttempts: ClosedRange<Int64> = 1...100
        package static let after = 100
        package static let tags = 32
        package static let tagBytes = 256
        /// About 31 years: longer than any attempt, and harmless to timers.
        package static let timeoutSeconds = 1_000_000_000.0
    }

    /// Reads and checks one task's map.
    /// - Throws: the first fault, naming its member by path.
    package static func decode(_ task: Node, path: TaskPath) throws(ContractError) -> TaskSubmission {
        guard task.kind == .map else {
            throw ContractError(.badRequest, "a task must be a map, not \(task.kind.article)", field: path.text)
        }
        let reader = MemberReader(path: path, prefix: "")
        guard let kindNode = task["kind"] else { throw ContractError(.badRequest, "kind is required", field: path.member("kind")) }
        guard let kind = TaskKind(rawValue: try reader.string("kind", kindNode)) else { throw ContractError.unknownKind(path: path) }
        guard let params = task["params"] else { throw ContractError(.badRequest, "params is required", field: path.member("params")) }
        let parameters = try TaskParameters.decode(kind: kind, params: params, path: path)
        var submission = TaskSubmission(parameters: parameters, submittedParams: params.canonical)
        try task.forEachMember { name, value throws(ContractError) in
            try submission.set(name.stringValue ?? "", value, reader)
        }
        return submission
    }

    private mutating func set(_ name: String, _ node: Node, _ reader: MemberReader) throws(ContractError) {
        switch name {
        case "kind", "params": break
        case _ where node.isNull: break
        case "queue": queue = try reader.name(name, node)
        case "priority": priority = try reader.int(name, node, in: Limits.priority)
        case "key": key = try Self.decodeKey(node, reader)
        case "run_at": runAt = try Self.decodeTime(node, reader)
        case "timeout_s":
            let seconds = try reader.real(name, node, .positive)
            guard seconds <= Limits.timeoutSeconds else { throw reader.outOfRange(name, "must be above 0 and at most 1000000000") }
            timeoutSeconds = seconds
        case "max_attempts": maxAttempts = try reader.int(name, node, in: Limits.maxAttempts)
        case "after": after = try Self.decodeAfter(node, reader)
        case "tags": tags = try Self.decodeTags(node, reader)
        default: throw reader.unknown(name)
        }
    }

    private static func decodeKey(_ node: Node, _ reader: MemberReader) throws(ContractError) -> String {
        let key = try reader.string("key", node)
        guard (1...Limits.keyBytes).contains(key.utf8.count) else { throw reader.outOfRange("key", "must be 1 to \(Limits.keyBytes) bytes long") }
        return key
    }

    private static func decodeTime(_ node: Node, _ reader: MemberReader) throws(ContractError) -> Int64 {
        guard let time = Timestamp.milliseconds(try reader.string("run_at", node)) else {
            throw reader.outOfRange("run_at", "must be an RFC 3339 time with its offset, as 2026-11-24T12:00:00Z")
        }
        return time
    }

    private static func decodeAfter(_ node: Node, _ reader: MemberReader) throws(ContractError) -> [TaskID] {
        guard node.kind == .array else { throw reader.wrongType("after", node, expected: "a list of task ids") }
        guard node.count <= Limits.after else { throw reader.outOfRange("after", "may hold at most \(Limits.after) ids") }
        var ids: [TaskID] = []
        try node.forEachElement { element throws(ContractError) in ids.append(try reader.uuid("after[\(ids.count)]", element)) }
        return ids
    }

    private static func decodeTags(_ node: Node, _ reader: MemberReader) throws(ContractError) -> JSONObject {
        guard node.kind == .map else { throw reader.wrongType("tags", node, expected: "a map of strings") }
        guard node.count <= Limits.tags else { throw reader.outOfRange("tags", "may hold at most \(Limits.tags) strings") }
        var tags = JSONObject()
        try node.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            let tag = try reader.string("tags.\(printable(text))", value)
            guard text.utf8.count <= Limits.tagBytes, tag.utf8.count <= Limits.tagBytes else {
                throw reader.outOfRange("tags.\(printable(text))", "and its name may be at most \(Limits.tagBytes) bytes long")
            }
            tags[text] = .string(tag)
        }
        return tags
    }
}
