import Glibc

/// Standard output, byte for byte: for text that need not be UTF-8.
enum StandardOutput {
    /// Writes all bytes; where nobody reads any more, the rest is dropped.
    static func write(_ bytes: [UInt8]) {
        fflush(nil)
        bytes.withUnsafeBytes { buffer in
            var written = 0
            while written < buffer.count, let base = buffer.baseAddress {
                let count = Glibc.write(STDOUT_FILENO, base + written, buffer.count - written)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                written += count
            }
        }
    }
}
