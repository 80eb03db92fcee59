internal import ArtifactStore
internal import Messaging
internal import Synchronization
internal import TaskProtocol

/// An artifact in the service's store: bytes, or a manifest with all files that it names.
public struct StoredArtifact: Sendable, Hashable {
    /// Its digest, 64 hexadecimal digits; `sha256:` and this are its `uri`.
    public let sha256: String
    /// Its bytes; of a manifest, those of its files.
    public let bytes: Int64

    /// An artifact as it was stored.
    public init(sha256: String, bytes: Int64) {
        self.sha256 = sha256
        self.bytes = bytes
    }
}

/// A file on this machine, and its place in an artifact.
public struct ArtifactFile: Sendable, Hashable {
    /// The path in the artifact: relative, with `/` between its names.
    public var path: String
    /// The path on this machine.
    public var source: String

    /// A file with its place.
    public init(path: String, source: String) {
        self.path = path
        self.source = source
    }
}

/// Artifacts through the broker: for a machine that has neither the store nor the database.
///
/// ```swift
/// let artifact = try await client.put(files: [ArtifactFile(path: "000000.txt", source: "corpus.txt")])
/// try await client.register(DatasetFiling(name: "corpus", manifest: artifact.sha256, bytes: artifact.bytes))
/// ```
///
/// What is there already is not sent again; a transfer that was broken off goes on, whenever it is asked for anew, from what is there. They run on
/// threads of their own. Cancelling the calling task ends them.
extension ScriptoriumClient {
    /// Told, from another thread, how many bytes of how many are done.
    public typealias TransferProgress = @Sendable (_ done: Int64, _ total: Int64) -> Void

    /// Stores bytes.
    public func put(_ bytes: [UInt8]) async throws(ClientError) -> StoredArtifact {
        try await transfer { transfer throws(TransferError) in
            let stored = try transfer.upload(.bytes(bytes))
            return StoredArtifact(sha256: stored.sha256, bytes: stored.size)
        }
    }

    /// Stores a file.
    public func put(file path: String, progress: @escaping TransferProgress = { _, _ in }) async throws(ClientError) -> StoredArtifact {
        try await transfer(progress) { transfer throws(TransferError) in
            let stored = try transfer.upload(.file(path))
            return StoredArtifact(sha256: stored.sha256, bytes: stored.size)
        }
    }

    /// Stores files as one artifact.
    /// - Returns: their manifest, which `register` and a `uri` name.
    public func put(files: [ArtifactFile], progress: @escaping TransferProgress = { _, _ in }) async throws(ClientError) -> StoredArtifact {
        try await transfer(progress) { transfer throws(TransferError) in
            let manifest = try transfer.upload(files: files.map { (path: $0.path, source: .file($0.source)) })
            return StoredArtifact(sha256: manifest.sha256, bytes: Int64(manifest.byteCount))
        }
    }

    /// The bytes of an artifact, checked against its digest.
    /// - Parameter limit: a larger one is refused.
    public func fetch(_ sha256: String, limit: Int = 64 << 20) async throws(ClientError) -> [UInt8] {
        try await transfer { transfer throws(TransferError) in try transfer.bytes(sha256, limit: Int64(limit)) }
    }

    /// Writes an artifact's bytes to a file, which appears when they are all there and have their digest.
    public func fetch(_ sha256: String, toFile path: String, progress: @escaping TransferProgress = { _, _ in }) async throws(ClientError) {
        try await transfer(progress) { transfer throws(TransferError) in try transfer.download(sha256, to: path) }
    }

    /// Makes a folder with the files of a manifest in it.
    /// - Parameter folder: must not exist yet; its parent must.
    public func fetch(
        manifest sha256: String, into folder: String, progress: @escaping TransferProgress = { _, _ in }
    ) async throws(ClientError) {
        try await transfer(progress) { transfer throws(TransferError) in
            let json = try transfer.bytes(sha256, limit: 16 << 20)
            let manifest: Manifest
            do throws(ArtifactError) { manifest = try Manifest(json: json) } catch { throw TransferError.artifact(error) }
            try transfer.download(manifest, into: folder)
        }
    }

    /// Runs a transfer on a thread of its own.
    private func transfer<Value: Sendable>(
        _ progress: @escaping TransferProgress = { _, _ in },
        _ body: @escaping @Sendable (inout ArtifactTransfer<ClientTransport>) throws(TransferError) -> Value
    ) async throws(ClientError) -> Value {
        let cancelled = CancellationFlag()
        let result = await withTaskCancellationHandler {
            await withCheckedContinuation { (continuation: CheckedContinuation<Result<Value, ClientError>, Never>) in
                do throws(MessagingError) {
                    _ = try ServiceThread(name: "artifacts") {
                        continuation.resume(returning: self.run(cancelled, progress, body))
                    }
                } catch { continuation.resume(returning: .failure(.broken(error.description))) }
            }
        } onCancel: {
            cancelled.raise()
        }
        return try result.get()
    }

    private func run<Value>(
        _ cancelled: CancellationFlag, _ progress: @escaping TransferProgress,
        _ body: (inout ArtifactTransfer<ClientTransport>) throws(TransferError) -> Value
    ) -> Result<Value, ClientError> {
        let transport: ClientTransport
        do throws(MessagingError) { transport = try ClientTransport(self) } catch { return .failure(.broken(error.description)) }
        // The client has tried again already what was `busy` or `unavailable`.
        var transfer = ArtifactTransfer(
            transport, watch: TransferWatch(progress: progress, isStopped: { cancelled.isRaised }), refusalMilliseconds: 0)
        do throws(TransferError) {
            return .success(try body(&transfer))
        } catch {
            return .failure(transport.failure ?? ClientError(error))
        }
    }
}

private final class CancellationFlag: Sendable {
    private let raised = Atomic<Bool>(false)

    func raise() { raised.store(true, ordering: .relaxed) }
    var isRaised: Bool { raised.load(ordering: .relaxed) }
}

extension ClientError {
    fileprivate init(_ error: TransferError) {
        switch error {
        case .stopped: self = .cancelled
        case .silent, .connection: self = .unavailable(error.description)
        case .refused(let refusal): self = .refused(ServiceError(code: refusal.code.rawValue, message: refusal.message, field: refusal.field))
        case .artifact: self = .files(error.description)
        case .broken: self = .broken(error.description)
        }
    }
}
