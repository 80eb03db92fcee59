import Encodings

/// Artifacts on their way between workers and brokers: the same requests as clients' `put` and `fetch`, each with a number that its answer repeats.
extension ArtifactOperation {
    func encoded(_ number: Int64) -> [UInt8] {
        switch self {
        case .put(let put):
            protocolMessage("artifact_put", 5) {
                $0.member("number", number)
                $0.member("sha256", put.sha256)
                $0.member("size", put.size)
                $0.member("offset", put.offset)
                $0.member("data", binary: put.data)
            }
        case .fetch(let fetch):
            protocolMessage("artifact_fetch", 4) {
                $0.member("number", number)
                $0.member("sha256", fetch.sha256)
                $0.member("offset", fetch.offset)
                $0.member("length", fetch.length)
            }
        }
    }

    init(_ fields: FieldReader) throws(WorkerProtocolError) {
        let sha256 = try fields.digest("sha256")
        let offset = Int64(try fields.count("offset"))
        guard fields.message == "artifact_put" else {
            self = .fetch(ArtifactFetch(sha256: sha256, offset: offset, length: min(try fields.count("length"), Self.partBytes)))
            return
        }
        let size = try fields.optionalCount("size").map { Int64($0) }
        let data = try fields.optionalBytes("data")
        if let data {
            guard data.count <= Self.partBytes else { throw fields.error("data") }
            guard let size, offset <= size, Int64(data.count) <= size - offset else { throw fields.error("size") }
        }
        self = .put(ArtifactPut(sha256: sha256, size: size, offset: offset, data: data))
    }
}

extension ArtifactAnswer {
    func encoded(_ number: Int64) -> [UInt8] {
        switch self {
        case .have(let have):
            protocolMessage("artifact_have", 2) {
                $0.member("number", number)
                $0.member("have", have)
            }
        case .data(let data, let size):
            protocolMessage("artifact_data", 3) {
                $0.member("number", number)
                $0.member("data", binary: data)
                $0.member("size", size)
            }
        case .refused(let error):
            protocolMessage("artifact_refused", 4) {
                $0.member("number", number)
                $0.member("code", error.code.rawValue)
                $0.member("message", error.message)
                $0.member("field", error.field)
            }
        }
    }

    init(_ fields: FieldReader) throws(WorkerProtocolError) {
        switch fields.message {
        case "artifact_have": self = .have(Int64(try fields.count("have")))
        case "artifact_data": self = .data(try fields.bytes("data"), size: Int64(try fields.count("size")))
        default: self = .refused(try fields.contractError())
        }
    }
}
