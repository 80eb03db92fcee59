import Glibc

/// Reads whole files and streams, for commands.
enum InputFile {
    /// The bytes of a file, or nil where it cannot be read.
    static func read(_ path: String) -> [UInt8]? {
        let handle = open(path, O_RDONLY | O_CLOEXEC)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        return readAll(handle)
    }

    /// Everything that standard input has.
    static func standardInput() -> [UInt8] { readAll(STDIN_FILENO) ?? [] }

    private static func readAll(_ handle: Int32) -> [UInt8]? {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = Glibc.read(handle, &chunk, chunk.count)
            if count == 0 { return bytes }
            if count < 0 {
                if errno == EINTR { continue }
                return nil
            }
            bytes += chunk[..<count]
        }
    }
}
