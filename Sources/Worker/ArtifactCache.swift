import ArtifactStore
import FoundationEssentials
import Glibc

/// Artifacts laid out as files, by their digest: what models and datasets are mapped from.
///
/// One thread uses it. An artifact appears whole or not at all; above the bound the least recently used go (what is mapped stays readable).
struct ArtifactCache {
    let artifacts: any WorkerArtifacts
    let directory: String
    let byteLimit: Int
    /// Least recently used first.
    private var entries: [(digest: String, bytes: Int)] = []

    init(artifacts: any WorkerArtifacts, directory: String, byteLimit: Int) throws(TaskFault) {
        self.artifacts = artifacts
        self.directory = directory
        self.byteLimit = byteLimit
        do {
            try FileManager.default.createDirectory(atPath: directory + "/artifacts", withIntermediateDirectories: true)
            Self.removeLeftovers(directory)
            for name in try FileManager.default.contentsOfDirectory(atPath: directory + "/artifacts").sorted() where name.utf8.count == 64 {
                entries.append((name, Self.byteCount(directory + "/artifacts/" + name)))
            }
        } catch { throw .transient("the cache folder cannot be used: \(error)") }
    }

    /// How an artifact lies here.
    enum Content: Equatable {
        /// A manifest's files.
        case folder(String)
        /// Plain bytes.
        case file(String)

        var path: String {
            switch self {
            case .folder(let path), .file(let path): path
            }
        }
    }

    /// An artifact's files; laid out now where they are not there yet, every digest checked.
    mutating func content(of digest: String, watch: TransferWatch = TransferWatch()) throws(TransferError) -> Content {
        let path = try path(of: digest, watch)
        var isFolder = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        return isFolder ? .folder(path) : .file(path)
    }

    private mutating func path(of digest: String, _ watch: TransferWatch) throws(TransferError) -> String {
        let path = directory + "/artifacts/" + digest
        if let index = entries.firstIndex(where: { $0.digest == digest }) {
            let entry = entries.remove(at: index)
            if FileManager.default.fileExists(atPath: path) {
                entries.append(entry)
                return path
            }
        }
        try layOut(digest, at: path, watch)
        entries.append((digest, Self.byteCount(path)))
        makeRoom()
        return path
    }

    /// Beside its place first, so that a folder with the digest's name is whole; where another worker was faster, its folder serves.
    private func layOut(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) {
        let beside = "\(directory)/artifacts/.\(digest)-\(getpid())"
        try? FileManager.default.removeItem(atPath: beside)
        try artifacts.layOut(digest, at: beside, watch: watch)
        guard rename(beside, path) != 0 else { return }
        let problem = errno
        try? FileManager.default.removeItem(atPath: beside)
        guard FileManager.default.fileExists(atPath: path) else {
            throw .artifact(.system(path: path, errno: problem))
        }
    }

    /// The newest is never dropped: it is about to be used.
    private mutating func makeRoom() {
        var bytes = entries.reduce(0) { $0 + $1.bytes }
        while bytes > byteLimit, entries.count > 1 {
            let oldest = entries.removeFirst()
            bytes -= oldest.bytes
            try? FileManager.default.removeItem(atPath: directory + "/artifacts/" + oldest.digest)
        }
    }

    /// What workers that were killed left half done more than a day ago.
    private static func removeLeftovers(_ directory: String) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        for (folder, prefix) in [(directory, "work-"), (directory + "/artifacts", ".")] {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where name.hasPrefix(prefix) {
                var status = stat()
                guard lstat(folder + "/" + name, &status) == 0, now.tv_sec - status.st_mtim.tv_sec > 86_400 else { continue }
                try? FileManager.default.removeItem(atPath: folder + "/" + name)
            }
        }
    }

    private static func byteCount(_ folder: String) -> Int {
        let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? [""]
        return names.reduce(0) { sum, name in
            let size = try? FileManager.default.attributesOfItem(atPath: name.isEmpty ? folder : folder + "/" + name)[.size]
            return sum + ((size as? Int) ?? (size as? UInt64).map { Int($0) } ?? 0)
        }
    }
}
