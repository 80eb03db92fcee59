import CZlib
import Glibc

/// Reads a file that is gzipped, in any number of members, or plain; in bounded memory. Checksums are checked.
struct GzipReader: ~Copyable {
    struct Failure: Error, Equatable {
        let problem: String
        let isSystem: Bool
    }

    private let file: gzFile
    private let buffer: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0
    private var failure: Failure?

    init(path: String) throws(Failure) {
        guard let file = gzopen(path, "rbe") else { throw Failure(problem: String(cString: strerror(errno)), isSystem: true) }
        self.file = file
        gzbuffer(file, 1 << 17)
        buffer = .allocate(byteCount: 1 << 18, alignment: 16)
    }

    deinit {
        gzclose_r(file)
        buffer.deallocate()
    }

    /// Whether the file is not compressed.
    var isPlain: Bool { gzdirect(file) == 1 }

    /// The next byte; nil at the end or where reading fails (then ``read(_:)`` throws).
    mutating func byte() -> UInt8? {
        if start == end { fill() }
        guard start < end else { return nil }
        defer { start += 1 }
        return buffer[start]
    }

    /// Fills `target` as far as the file goes and returns how many bytes that was.
    mutating func read(_ target: UnsafeMutableRawBufferPointer) throws(Failure) -> Int {
        var done = 0
        while done < target.count {
            if start == end { fill() }
            if let failure { throw failure }
            if start == end { break }
            let part = min(end - start, target.count - done)
            UnsafeMutableRawBufferPointer(rebasing: target[done..<done + part]).copyMemory(
                from: UnsafeRawBufferPointer(rebasing: buffer[start..<start + part]))
            start += part
            done += part
        }
        return done
    }

    /// - Throws: where reading has failed.
    func check() throws(Failure) {
        if let failure { throw failure }
    }

    private mutating func fill() {
        guard failure == nil else { return }
        let count = gzread(file, buffer.baseAddress, UInt32(buffer.count))
        start = 0
        end = max(0, Int(count))
        // A member that ends too soon reads as an end of file, with the error beside it.
        var code: Int32 = 0
        let message = gzerror(file, &code)
        if count <= 0, code != Z_OK, code != Z_STREAM_END {
            let isSystem = code == Z_ERRNO
            let text = isSystem ? String(cString: strerror(errno)) : message.map { String(cString: $0) } ?? "damaged"
            failure = Failure(problem: code == Z_BUF_ERROR ? "its compressed data is cut short" : "its compressed data is damaged (\(text))", isSystem: isSystem)
        }
    }
}
