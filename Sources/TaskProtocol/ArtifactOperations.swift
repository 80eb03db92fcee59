/// What is asked of the artifact store through a broker: by clients as the ops `put` and `fetch`, by workers as `artifact_put` and `artifact_fetch`.
package enum ArtifactOperation: Sendable, Equatable {
    case put(ArtifactPut)
    case fetch(ArtifactFetch)

    /// The most bytes that one request or answer carries.
    package static let partBytes = 1 << 20

    /// The artifact's digest: 64 hexadecimal digits in lower case, nothing else ever becomes part of a path.
    package var sha256: String {
        switch self {
        case .put(let put): put.sha256
        case .fetch(let fetch): fetch.sha256
        }
    }

    /// Bytes that it brings along.
    package var byteCount: Int {
        if case .put(let put) = self { put.data?.count ?? 0 } else { 0 }
    }
}

/// A part of an artifact on its way in; without ``data`` it only asks how much is there.
package struct ArtifactPut: Sendable, Equatable {
    package var sha256: String
    /// Bytes of the whole artifact; nil only where it is merely asked for.
    package var size: Int64?
    /// Where ``data`` begins in it.
    package var offset: Int64
    package var data: [UInt8]?

    package init(sha256: String, size: Int64?, offset: Int64 = 0, data: [UInt8]? = nil) {
        self.sha256 = sha256
        self.size = size
        self.offset = offset
        self.data = data
    }
}

/// A part of an artifact that is wanted.
package struct ArtifactFetch: Sendable, Equatable {
    package var sha256: String
    package var offset: Int64
    /// At most so many bytes; the answer may hold fewer, and never more than ``ArtifactOperation/partBytes``.
    package var length: Int

    package init(sha256: String, offset: Int64 = 0, length: Int = ArtifactOperation.partBytes) {
        self.sha256 = sha256
        self.offset = offset
        self.length = length
    }
}

/// What the artifact store answers.
package enum ArtifactAnswer: Sendable, Equatable {
    /// To a put: bytes there so far; all of them once the artifact is whole.
    case have(Int64)
    /// To a fetch: bytes from the offset on, and the size of the whole artifact.
    case data([UInt8], size: Int64)
    /// `busy` and `unavailable` may be tried again; anything else stands.
    case refused(ContractError)
}

/// Whether what a task is to be pinned to is in the artifact store.
package enum ArtifactStanding: Sendable, Equatable {
    /// It is there with all its files, and their age is renewed: garbage collection spares them for a day.
    case present
    case missing
    /// The store itself cannot be looked into: nothing is known.
    case unreachable
    /// A web address whose bytes are in the store now, under this manifest.
    case fetched(sha256: String)
    /// A web address that is being fetched.
    case fetching
    /// A web address that may not be fetched, or cannot: why.
    case refused(String)
}
