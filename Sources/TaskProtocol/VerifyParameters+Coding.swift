package import Encodings

extension VerifyParameters {
    /// Reads and checks the `params` of a verify task.
    package static func decode(_ params: Node, path: TaskPath) throws(ContractError) -> VerifyParameters {
        let reader = MemberReader(path: path, prefix: "params.")
        var subjects: [Subject] = []
        var method: Method?
        try params.forEachMember { name, value throws(ContractError) in
            let text = name.stringValue ?? ""
            if value.isNull { return }
            guard names.contains(text) else { throw reader.unknown(text) }
            switch text {
            case "generation": subjects.append(.generation(try reader.uuid(text, value)))
            case "task": subjects.append(.task(try reader.uuid(text, value)))
            default: method = try reader.word(text, value)
            }
        }
        guard let subject = subjects.first, subjects.count == 1 else {
            throw ContractError(.invalidArgument, "exactly one of generation and task is required", field: reader.field("generation"))
        }
        return VerifyParameters(subject: subject, method: method)
    }

    /// Writes every value that is present, names in canonical order.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(method == nil ? 1 : 2)
        if case .generation(let id) = subject { writer.member("generation", id.description) }
        if let method { writer.member("method", method.rawValue) }
        if case .task(let id) = subject { writer.member("task", id.description) }
        writer.endMap()
    }
}

extension MemberReader {
    func uuid(_ name: String, _ node: Node) throws(ContractError) -> UUIDValue {
        guard node.kind == .string else { throw wrongType(name, node, expected: "a UUID") }
        guard let id = node.withUTF8({ UUIDValue(utf8: $0) }) else { throw outOfRange(name, "must be a UUID") }
        return id
    }
}
