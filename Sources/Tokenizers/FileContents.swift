import Glibc

/// Whole small files, with the system's words where they cannot be read.
enum FileContents {
    /// No tokenizer file comes near; a larger one is a mistake that should not fill the memory first.
    static let maximumByteCount = 512 << 20

    enum Kind { case file, directory, missing }

    static func kind(_ path: String) -> Kind {
        var information = stat()
        guard stat(path, &information) == 0 else { return .missing }
        return information.st_mode & S_IFMT == S_IFDIR ? .directory : .file
    }

    static func read(_ path: String) throws(TokenizerError) -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw .unreadable(file: path, reason: String(cString: strerror(errno))) }
        defer { close(file) }
        var information = stat()
        guard fstat(file, &information) == 0 else { throw .unreadable(file: path, reason: String(cString: strerror(errno))) }
        guard information.st_mode & S_IFMT != S_IFDIR else { throw .unreadable(file: path, reason: "it is a folder") }
        guard information.st_size <= maximumByteCount else {
            throw .unreadable(file: path, reason: "it is larger than \(maximumByteCount >> 20) MiB")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(information.st_size))
        var piece = [UInt8](repeating: 0, count: 1 << 18)
        while true {
            let count = Glibc.read(file, &piece, piece.count)
            if count < 0 && errno == EINTR { continue }
            guard count >= 0 else { throw .unreadable(file: path, reason: String(cString: strerror(errno))) }
            if count == 0 { return bytes }
            guard bytes.count + count <= maximumByteCount else {
                throw .unreadable(file: path, reason: "it is larger than \(maximumByteCount >> 20) MiB")
            }
            bytes.append(contentsOf: piece[..<count])
        }
    }
}
