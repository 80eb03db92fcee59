package import ArtifactStore
import DurableFiles
import FoundationEssentials
import Glibc

/// Artifacts laid out as files, by their digest: what models and datasets are mapped from.
///
/// One thread uses it; other processes may share the folder. A folder appears whole or not at all; above the bound the least recently used go,
/// but never one that a ``CachedFolder`` holds: what is in use may take more than the bound. Where the disk is full below the bound, all go that
/// nobody holds.
package struct ArtifactCache {
    let artifacts: any WorkerArtifacts
    let directory: String
    let byteLimit: Int
    /// Names what is being laid out. A process id would not do: in containers that share the folder all workers have the same one.
    private let mark = String(UInt64.random(in: 0 ... .max), radix: 36)
    /// Least recently used first.
    private var entries: [(digest: String, bytes: Int)] = []

    /// A cache of what a mounted store holds.
    package init(store: ArtifactDirectory, directory: String, byteLimit: Int) throws(TaskFault) {
        try self.init(artifacts: MountedArtifacts(directory: store), directory: directory, byteLimit: byteLimit)
    }

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

    /// The folder with an artifact's files, kept for as long as it is held; laid out now where it is not there yet, every digest checked.
    ///
    /// Of a manifest these are its files; plain bytes are one file, which ``plainFile(in:)`` finds.
    package mutating func folder(_ digest: String, watch: TransferWatch = TransferWatch()) throws(TransferError) -> CachedFolder {
        let path = directory + "/artifacts/" + digest
        if let index = entries.firstIndex(where: { $0.digest == digest }) {
            let entry = entries.remove(at: index)
            if let folder = CachedFolder(path: path) {
                entries.append(entry)
                return folder
            }
        }
        let folder = try layOutWithRoom(digest, at: path, watch)
        entries.append((digest, Self.byteCount(path)))
        makeRoom(limit: byteLimit)
        return folder
    }

    /// Where the disk is full it is emptied of what nobody holds, and tried once more.
    private mutating func layOutWithRoom(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) -> CachedFolder {
        var size: Int64 = 0
        let measuring = TransferWatch(
            progress: { done, total in
                size = max(size, total)
                watch.progress(done, total)
            }, isStopped: watch.isStopped)
        do throws(TransferError) {
            do throws(TransferError) { return try layOut(digest, at: path, measuring) } catch {
                guard error.isFull, makeRoom(limit: 0) else { throw error }
                return try layOut(digest, at: path, measuring)
            }
        } catch {
            // No disk of this size will ever hold it, and that is no fault of the machine.
            guard error.isFull, let capacity = Self.capacity(directory), size > capacity else { throw error }
            throw .artifact(
                .unsuitable(path: "sha256:\(digest.prefix(12))…", "it has \(size) bytes, and all of the disk of \(directory) only \(capacity)"))
        }
    }

    /// Beside its place first, so that a folder with the digest's name is whole; where another worker was faster, its folder serves.
    private func layOut(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) -> CachedFolder {
        // Another process may evict what was just laid out, before it is held: then once more.
        for _ in 0..<Self.layOutTries {
            try putInPlace(digest, at: path, watch)
            if let folder = CachedFolder(path: path) { return folder }
        }
        throw .artifact(.unsuitable(path: path, "other workers evicted it again and again: give them a larger --cache-bytes"))
    }

    private static let layOutTries = 5

    /// The file of an artifact that is plain bytes; nil where the folder holds a manifest's files.
    static func plainFile(in folder: CachedFolder) -> String? {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names == [WorkerArtifactNames.plain] ? folder.path + "/" + WorkerArtifactNames.plain : nil
    }

    private func putInPlace(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) {
        let beside = "\(directory)/artifacts/.\(digest)-\(mark)"
        try? FileManager.default.removeItem(atPath: beside)
        try artifacts.layOut(digest, into: beside, watch: watch)
        guard rename(beside, path) != 0 else { return }
        let problem = errno
        try? FileManager.default.removeItem(atPath: beside)
        guard FileManager.default.fileExists(atPath: path) else {
            throw .artifact(.system(path: path, errno: problem))
        }
    }

    /// Evicts the least recently used of those that nobody holds, until the rest fits.
    /// - Returns: whether any went.
    @discardableResult
    private mutating func makeRoom(limit: Int) -> Bool {
        var bytes = entries.reduce(0) { $0 + $1.bytes }
        let (before, folder) = (entries.count, directory + "/artifacts/")
        entries.removeAll { entry in
            guard bytes > limit, CachedFolder.evict(folder + entry.digest) else { return false }
            bytes -= entry.bytes
            return true
        }
        return entries.count < before
    }

    /// Bytes that the disk of a folder holds when it is empty.
    private static func capacity(_ folder: String) -> Int64? {
        var state = statvfs()
        guard statvfs(folder, &state) == 0 else { return nil }
        return Int64(clamping: UInt64(state.f_blocks) * UInt64(state.f_frsize))
    }

    /// What workers that were killed left half done more than a day ago. A work folder is held by its worker for as long as that lives, which may
    /// be longer than a day.
    private static func removeLeftovers(_ directory: String) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        for (folder, prefix) in [(directory, "work-"), (directory, ".evicted-"), (directory + "/artifacts", ".")] {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? [] where name.hasPrefix(prefix) {
                var status = stat()
                guard lstat(folder + "/" + name, &status) == 0, now.tv_sec - status.st_mtim.tv_sec > 86_400 else { continue }
                _ = CachedFolder.evict(folder + "/" + name)
            }
        }
    }

    /// The system's own figures: which type Foundation gives a file's size depends on how much of Foundation a program is linked with.
    private static func byteCount(_ folder: String) -> Int {
        FileTree.names(folder).reduce(0) { sum, name in
            let path = folder + "/" + name
            if FileTree.isFolder(path) { return sum + byteCount(path) }
            var status = stat()
            return lstat(path, &status) == 0 ? sum + Int(status.st_size) : sum
        }
    }
}
