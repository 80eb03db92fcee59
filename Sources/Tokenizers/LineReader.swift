import Glibc

/// Reads a file line by line in bounded memory: a megabyte, or its longest line.
///
/// Lines end with U+000A only and keep it; a carriage return stays in its line. The last line may lack its end.
package struct LineReader: ~Copyable {
    /// The system's word, where reading fails.
    package struct Failure: Error, Sendable, Equatable {
        package let reason: String
    }

    /// A longer line is refused: no text has one, and it would have to be held in memory.
    package static let maximumLine = 1 << 30

    private let file: Int32
    private var buffer = [UInt8](repeating: 0, count: 1 << 20)
    private var start = 0
    private var end = 0
    private var isAtEnd = false
    /// How many bytes were handed out.
    package private(set) var offset = 0
    /// The number of the last line handed out, from 1.
    package private(set) var line = 0
    /// The file's length when it was opened; 0 for a pipe.
    package let byteCount: Int

    package init(path: String) throws(Failure) {
        file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw Failure(reason: String(cString: strerror(errno))) }
        var information = stat()
        _ = fstat(file, &information)
        byteCount = Int(information.st_size)
        _ = posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
    }

    deinit { if file >= 0 { close(file) } }

    /// Calls `body` with the next line.
    /// - Returns: nil at the end of the file.
    package mutating func next<Result>(_ body: (UnsafeBufferPointer<UInt8>) -> Result) throws(Failure) -> Result? {
        var searched = 0
        while true {
            if let length = lineLength(searched) {
                let result = buffer.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[start..<start + length])) }
                start += length
                offset += length
                line += 1
                return result
            }
            if isAtEnd && start == end { return nil }
            searched = end - start
            try fill()
        }
    }

    private func lineLength(_ searched: Int) -> Int? {
        let found = buffer.withUnsafeBufferPointer { bytes -> Int? in
            guard let base = bytes.baseAddress, end > start + searched else { return nil }
            guard let place = memchr(base + start + searched, 0x0A, end - start - searched) else { return nil }
            return UnsafeRawPointer(place) - UnsafeRawPointer(base + start) + 1
        }
        return found ?? (isAtEnd && end > start ? end - start : nil)
    }

    private mutating func fill() throws(Failure) {
        if start > 0 {
            buffer.withUnsafeMutableBytes { bytes in
                guard let base = bytes.baseAddress else { return }
                memmove(base, base + start, end - start)
            }
            end -= start
            start = 0
        }
        if end == buffer.count {
            guard buffer.count < Self.maximumLine else { throw Failure(reason: "line \(line + 1) is longer than \(Self.maximumLine >> 20) MiB") }
            buffer.append(contentsOf: repeatElement(0, count: buffer.count))
        }
        while true {
            let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress.map { $0 + end }, $0.count - end) }
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw Failure(reason: String(cString: strerror(errno))) }
            if count == 0 { isAtEnd = true } else { end += count }
            return
        }
    }
}
