import CZlib

/// Compresses a stream into one gzip member, in bounded memory.
struct GzipWriter: ~Copyable {
    private let stream: UnsafeMutablePointer<z_stream>
    private let output: UnsafeMutableRawBufferPointer

    /// - Parameter level: 0 stores, 1 is fast, 9 small.
    init(level: Int32) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        output = .allocate(byteCount: 1 << 18, alignment: 16)
        // 15 + 16: the largest window, a gzip head without name and date. Fails only without memory.
        let result = deflateInit2_(
            stream, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK, "zlib could not start")
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
        output.deallocate()
    }

    /// Compresses the next bytes.
    /// - Parameters:
    ///   - isLast: ends the member.
    ///   - write: receives compressed bytes, any number of times.
    mutating func compress<Failure>(
        _ bytes: UnsafeRawBufferPointer, isLast: Bool = false, to write: (UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        var offset = 0
        repeat {
            let part = min(bytes.count - offset, 1 << 30)
            let isEnd = isLast && offset + part == bytes.count
            stream.pointee.next_in = bytes.baseAddress.map { UnsafeMutablePointer(mutating: ($0 + offset).assumingMemoryBound(to: UInt8.self)) }
            stream.pointee.avail_in = UInt32(part)
            repeat {
                stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = UInt32(output.count)
                deflate(stream, isEnd ? Z_FINISH : Z_NO_FLUSH)
                let written = output.count - Int(stream.pointee.avail_out)
                if written > 0 { try write(UnsafeRawBufferPointer(rebasing: output[..<written])) }
            } while stream.pointee.avail_out == 0
            offset += part
        } while offset < bytes.count
    }

    /// A whole member in memory.
    static func member(_ bytes: [UInt8], level: Int32) -> [UInt8] {
        var writer = GzipWriter(level: level)
        var result: [UInt8] = []
        bytes.withUnsafeBytes { writer.compress($0, isLast: true) { result.append(contentsOf: $0) } }
        return result
    }
}
