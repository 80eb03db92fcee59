internal import Encodings
internal import FoundationEssentials
internal import Glibc

/// Where the files are, and how they are read.
extension Migrator {
    /// Reads a folder's files named `<number>_<what>.sql`.
    package init(folder: String) throws(MigrationError) {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else { throw .unreadable(path: folder) }
        var files: [Migration] = []
        for name in names.filter({ $0.hasSuffix(".sql") }).sorted() {
            guard let version = Int(name.prefix { $0 != "_" }), version == files.count + 1 else { throw .misnumbered(name: name) }
            guard let data = FileManager.default.contents(atPath: folder + "/" + name) else { throw .unreadable(path: folder + "/" + name) }
            let bytes = [UInt8](data)
            files.append(
                try Migration(version: version, name: name, sql: String(decoding: bytes, as: UTF8.self), checksum: SHA256Digest.hex(of: bytes)))
        }
        guard !files.isEmpty else { throw .unreadable(path: folder) }
        self.init(files: files)
    }

    /// Finds the folder: the one named, else `SCRIPTORIUM_MIGRATIONS`, else beside the executable in `../share/scriptorium/migrations`, else
    /// `migrations` beside the `Package.swift` above it.
    package static func locate(named: String?, environment: [String: String], executable: String) throws(MigrationError) -> String {
        func isFolder(_ path: String) -> Bool {
            var status = stat()
            return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        }
        if let path = named ?? environment["SCRIPTORIUM_MIGRATIONS"].flatMap({ $0.isEmpty ? nil : $0 }) {
            guard isFolder(path) else { throw .folderMissing([path]) }
            return path
        }
        var parts = executable.split(separator: "/", omittingEmptySubsequences: true).dropLast().map(String.init)
        let shared = "/" + (parts.dropLast() + ["share", "scriptorium", "migrations"]).joined(separator: "/")
        if isFolder(shared) { return shared }
        var tried = [shared]
        while !parts.isEmpty {
            let root = "/" + parts.joined(separator: "/")
            if access(root + "/Package.swift", F_OK) == 0 {
                if isFolder(root + "/migrations") { return root + "/migrations" }
                tried.append(root + "/migrations")
            }
            parts.removeLast()
        }
        throw .folderMissing(tried)
    }

    /// The running program's path, for ``locate(named:environment:executable:)``.
    package static var executablePath: String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count)
        return length > 0 ? String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }
}
