package import Encodings

extension TaskParameters {
    /// Reads and checks the `params` of a task of this kind.
    /// - Throws: the first fault, naming its member by path.
    package static func decode(kind: TaskKind, params: Node, path: TaskPath) throws(ContractError) -> TaskParameters {
        guard params.kind == .map else {
            throw ContractError(.badRequest, "params must be a map, not \(params.kind.article)", field: path.member("params"))
        }
        return switch kind {
        case .generate: .generate(try GenerateParameters.decode(params, path: path))
        case .finetune: .finetune(try FinetuneParameters.decode(params, path: path))
        case .verify: .verify(try VerifyParameters.decode(params, path: path))
        }
    }

    /// Checks a task that is stored already (published in SQL): the same rules, its errors naming `kind` and `params.…`.
    /// - Parameters:
    ///   - kind: any text.
    ///   - params: JSON text.
    package static func decodeStored(kind: String, params: [UInt8]) throws(ContractError) -> TaskParameters {
        guard let known = TaskKind(rawValue: kind) else { throw ContractError.unknownKind(path: .stored) }
        return try decode(kind: known, params: ContractError.parse(json: params).root, path: .stored)
    }

    /// The names that ``write(to:)`` writes: what a worker has to know to run the task. Of what pinning fills in later every version knows the names.
    package var usedNames: Set<String> {
        var names = Set<String>()
        let written = try? Document.parse(json: JSONWriter.text { write(to: &$0) })
        written?.root.forEachMember { name, _ in if let name = name.stringValue { names.insert(name) } }
        return names
    }

    /// Writes every effective value under its name, names in canonical order.
    package func write(to writer: inout some PayloadWriter) {
        switch self {
        case .generate(let parameters): parameters.write(to: &writer)
        case .finetune(let parameters): parameters.write(to: &writer)
        case .verify(let parameters): parameters.write(to: &writer)
        }
    }
}

extension ContractError {
    static func unknownKind(path: TaskPath) -> ContractError {
        let known = TaskKind.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
        return ContractError(.invalidArgument, "kind must be one of \(known)", field: path.member("kind"))
    }

    /// A JSON document, its faults as `bad_request`.
    static func parse(json: [UInt8]) throws(ContractError) -> Document {
        do throws(DocumentError) { return try Document.parse(json: json) } catch { throw ContractError(.badRequest, error.description) }
    }
}
