internal import Encodings

/// A model's name and what it means.
public struct RegisteredModel: Sendable, Hashable {
    /// The name.
    public let name: String
    /// The checkpoint's UUID.
    public let checkpoint: String
    /// The checkpoint digest.
    public let sha256: String
    /// `sha256:` and the digest of its files' manifest in the artifact store.
    public let uri: String
    /// As `gpt2`.
    public let architecture: String
    /// How many weights it has.
    public let parameters: Int64
    /// In tokens.
    public let contextLength: Int

    init(_ node: Node) {
        name = node["name"]?.stringValue ?? ""
        checkpoint = node["checkpoint"]?.stringValue ?? ""
        sha256 = node["sha256"]?.stringValue ?? ""
        uri = node["uri"]?.stringValue ?? ""
        architecture = node["architecture"]?.stringValue ?? ""
        parameters = node["parameters"]?.integerValue ?? 0
        contextLength = Int(clamping: node["context_length"]?.integerValue ?? 0)
    }

    /// JSON of the row, with the contract's names.
    public var json: String {
        let map: JSONValue = [
            "name": .string(name), "checkpoint": .string(checkpoint), "sha256": .string(sha256), "uri": .string(uri),
            "architecture": .string(architecture), "parameters": .integer(parameters), "context_length": .integer(Int64(contextLength)),
        ]
        return String(decoding: map.serialised, as: UTF8.self)
    }
}

/// A model whose files stand in the artifact store, to be filed under a name.
public struct ModelFiling: Sendable {
    /// The name; what it meant before is replaced.
    public var name: String
    /// Digest of the manifest, 64 hexadecimal digits.
    public var manifest: String
    /// The checkpoint digest, 64 hexadecimal digits.
    public var checkpointSHA256: String
    /// The tokenizer's digest.
    public var tokenizerSHA256: String?
    /// As `gpt2`.
    public var architecture: String
    /// How many weights it has.
    public var parameters: Int64
    /// In tokens.
    public var contextLength: Int
    /// Bytes of all files.
    public var bytes: Int64
    /// Whether it was trained line by line.
    public var lineByLine = false
    /// JSON of config.json.
    public var configJSON = "{}"

    /// What every model must say of itself.
    public init(name: String, manifest: String, checkpointSHA256: String, architecture: String, parameters: Int64, contextLength: Int, bytes: Int64) {
        self.name = name
        self.manifest = manifest
        self.checkpointSHA256 = checkpointSHA256
        self.architecture = architecture
        self.parameters = parameters
        self.contextLength = contextLength
        self.bytes = bytes
    }

    func json() throws(ClientError) -> JSONValue {
        guard let config = try? JSONValue.parse(configJSON), config.objectValue != nil else { throw .broken("configJSON is no JSON object") }
        var map: JSONObject = [
            "name": .string(name), "sha256": .string(manifest), "checkpoint_sha256": .string(checkpointSHA256), "architecture": .string(architecture),
            "parameters": .integer(parameters), "context_length": .integer(Int64(contextLength)), "bytes": .integer(bytes),
            "line_by_line": .bool(lineByLine), "config": config,
        ]
        map["tokenizer_sha256"] = tokenizerSHA256.map { .string($0) }
        return .object(map)
    }
}

/// A dataset's name and what it means.
public struct RegisteredDataset: Sendable, Hashable {
    /// The name.
    public let name: String
    /// Digest of the manifest.
    public let sha256: String
    /// Bytes of all files.
    public let bytes: Int64
    /// Counted where it is encoded.
    public let tokens: Int64?
    /// Whether each line is a text of its own.
    public let lineByLine: Bool
    /// JSON of the row, with the contract's names.
    public let json: String

    init(_ node: Node) {
        name = node["name"]?.stringValue ?? ""
        sha256 = node["sha256"]?.stringValue ?? ""
        bytes = node["bytes"]?.integerValue ?? 0
        tokens = node["tokens"]?.integerValue
        lineByLine = node["line_by_line"]?.boolValue ?? false
        json = String(decoding: node.json, as: UTF8.self)
    }
}

/// A dataset whose files stand in the artifact store, to be filed under a name.
public struct DatasetFiling: Sendable {
    /// The name; what it meant before is replaced.
    public var name: String
    /// Digest of the manifest, 64 hexadecimal digits.
    public var manifest: String
    /// Bytes of all files.
    public var bytes: Int64
    /// Counted where it is encoded already.
    public var tokens: Int64?
    /// The block size that it was made for.
    public var blockSize: Int?
    /// Whether each line is a text of its own.
    public var lineByLine = false
    /// The tokenizer that it was encoded with.
    public var tokenizerSHA256: String?

    /// What every dataset must say of itself.
    public init(name: String, manifest: String, bytes: Int64) {
        self.name = name
        self.manifest = manifest
        self.bytes = bytes
    }

    var json: JSONValue {
        var map: JSONObject = ["name": .string(name), "sha256": .string(manifest), "bytes": .integer(bytes), "line_by_line": .bool(lineByLine)]
        map["tokens"] = tokens.map { .integer($0) }
        map["block_size"] = blockSize.map { .integer(Int64($0)) }
        map["tokenizer_sha256"] = tokenizerSHA256.map { .string($0) }
        return .object(map)
    }
}

/// What a broker says of itself.
public struct BrokerGreeting: Sendable, Hashable {
    /// The release.
    public let version: String
    /// The broker's UUID.
    public let broker: String
    /// The protocol's version: 1.
    public let protocolVersion: Int
    /// The database's `synchronous_commit`.
    public let synchronousCommit: String?
}
