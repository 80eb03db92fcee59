internal import DurableFiles
internal import Encodings
internal import Glibc

/// Bytes that are uploaded: in memory, or of a file.
package enum TransferSource: Sendable {
    case bytes([UInt8])
    case file(String)

    /// Digest and size, reading everything once.
    package func measured() throws(ArtifactError) -> (sha256: String, size: Int64) {
        switch self {
        case .bytes(let bytes): return (SHA256Digest.hex(of: bytes), Int64(bytes.count))
        case .file(let path):
            let input = try InputFile(path)
            var digest = SHA256Digest()
            var size: Int64 = 0
            while let piece = try input.next() {
                digest.update(piece)
                size += Int64(piece.count)
            }
            return (hexString(digest.finish()), size)
        }
    }
}

/// Reads parts of a ``TransferSource``.
final class SourceReader {
    private let source: TransferSource
    private let descriptor: Int32

    init(_ source: TransferSource) throws(ArtifactError) {
        self.source = source
        guard case .file(let path) = source else {
            descriptor = -1
            return
        }
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(path: path, errno: errno) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Exactly so many bytes.
    func read(at offset: Int64, count: Int) throws(ArtifactError) -> [UInt8] {
        switch source {
        case .bytes(let bytes): return Array(bytes[Int(offset)..<Int(offset) + count])
        case .file(let path):
            var problem: Int32 = 0
            let part = [UInt8](unsafeUninitializedCapacity: count) { buffer, done in
                while done < count {
                    let got = pread(descriptor, buffer.baseAddress?.advanced(by: done), count - done, off_t(offset) + off_t(done))
                    if got < 0, errno == EINTR { continue }
                    guard got > 0 else {
                        problem = got < 0 ? errno : EIO
                        return
                    }
                    done += got
                }
            }
            guard problem == 0 else { throw .system(path: path, errno: problem) }
            return part
        }
    }
}

/// Where a download goes: a file that appears when it is whole, or memory.
final class TransferSink {
    private var output: DurableFile?
    private let isFile: Bool
    private let limit: Int64
    /// What came, where it goes into memory.
    private(set) var bytes: [UInt8] = []

    /// - Parameters:
    ///   - path: the file's; nil: memory.
    ///   - limit: a larger artifact is refused.
    init(path: String?, limit: Int64) throws(ArtifactError) {
        self.limit = limit
        isFile = path != nil
        guard let path else { return }
        do throws(FileError) { output = try DurableFile(path: path, mode: 0o444) } catch { throw .init(error) }
    }

    func checkSize(_ size: Int64) throws(ArtifactError) {
        guard size <= limit else { throw .unsuitable(path: "the artifact", "it has more than \(limit) bytes") }
    }

    func write(_ piece: [UInt8]) throws(ArtifactError) {
        guard isFile else { return bytes += piece }
        do throws(FileError) { try output?.write(piece) } catch { throw .init(error) }
    }

    /// Gives the file its name.
    func finish() throws(ArtifactError) {
        guard let file = output.take() else { return }
        do throws(FileError) { try file.finish() } catch { throw .init(error) }
    }
}
