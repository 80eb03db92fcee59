import Glibc

/// Reads whole files and streams, for commands.
enum InputFile {
    /// The bytes of a file, or nil where it cannot be read.
    /// - Parameter most: reading ends with the first piece beyond so many bytes: a device may have no end.
    static func read(_ path: String, most: Int = .max) -> [UInt8]? {
        let handle = open(path, O_RDONLY | O_CLOEXEC)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        return readAll(handle, most)
    }

    /// Everything that standard input has, or a little more than `most` bytes of it.
    static func standardInput(most: Int = .max) -> [UInt8] { readAll(STDIN_FILENO, most) ?? [] }

    private static func readAll(_ handle: Int32, _ most: Int) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while bytes.count <= most {
            let count = Glibc.read(handle, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            bytes += chunk[..<count]
        }
        return bytes
    }
}
