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

    /// The first bytes of the file, at most `count`, which stay to be read. Before anything else.
    mutating func peek(_ count: Int) throws(Failure) -> [UInt8] {
        if start == end { fill() }
        if start == end { try check() }
        return Array(buffer[start..<min(end, start + count)])
    }

    /// Passes over bytes that ``peek(_:)`` showed.
    mutating func skip(_ count: Int) { start += count }

    /// Whether nothing is left. Fails where the end is one that came too soon.
    mutating func isAtEnd() throws(Failure) -> Bool {
        if start == end { fill() }
        try check()
        return start == end
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

    private func check() throws(Failure) {
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
            failure = Failure(
                problem: code == Z_BUF_ERROR ? "its compressed data is cut short" : "its compressed data is damaged (\(text))", isSystem: isSystem)
        }
    }
}
