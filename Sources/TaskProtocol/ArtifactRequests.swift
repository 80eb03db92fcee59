import Encodings

/// Reads the maps of `put` and `fetch`.
struct ArtifactRequests {
    let root: Node
    let reader: MemberReader

    static let putNames = ["sha256", "size", "offset", "data"]
    static let fetchNames = ["sha256", "offset", "length"]

    func put() throws(ContractError) -> ArtifactOperation {
        let sha256 = try required("sha256", reader.digest)
        let offset = try root["offset"].map { node throws(ContractError) in try reader.count("offset", node) } ?? 0
        guard let node = root["data"] else {
            let size = try root["size"].map { node throws(ContractError) in try reader.count("size", node) }
            return .put(ArtifactPut(sha256: sha256, size: size, offset: offset))
        }
        let size = try required("size", reader.count)
        let data = try part(node)
        guard offset <= size else { throw reader.outOfRange("offset", "must be at most size") }
        guard Int64(data.count) <= size - offset else { throw reader.outOfRange("data", "must end within size") }
        return .put(ArtifactPut(sha256: sha256, size: size, offset: offset, data: data))
    }

    func fetch() throws(ContractError) -> ArtifactOperation {
        let sha256 = try required("sha256", reader.digest)
        let offset = try root["offset"].map { node throws(ContractError) in try reader.count("offset", node) } ?? 0
        let length = try root["length"].map { node throws(ContractError) in try reader.count("length", node) }
        let most = ArtifactOperation.partBytes
        return .fetch(ArtifactFetch(sha256: sha256, offset: offset, length: Int(min(length ?? Int64(most), Int64(most)))))
    }

    private func part(_ node: Node) throws(ContractError) -> [UInt8] {
        guard let data = node.binaryValue else { throw reader.wrongType("data", node, expected: "binary data") }
        guard data.count <= ArtifactOperation.partBytes else {
            throw reader.outOfRange("data", "may hold at most \(ArtifactOperation.partBytes) bytes")
        }
        return data
    }

    private func required<Value>(_ name: String, _ read: (String, Node) throws(ContractError) -> Value) throws(ContractError) -> Value {
        guard let node = root[name] else { throw ContractError(.badRequest, "\(name) is required", field: name) }
        return try read(name, node)
    }
}
