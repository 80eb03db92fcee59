package import ArtifactStore
import DurableFiles
import FoundationEssentials
import Glibc

/// Artifacts laid out as files, by their digest: what models and datasets are mapped from.
///
/// One thread uses it; other processes may share the folder, and use and evict what any of them laid out. A folder appears whole or not at all; above
/// the bound the least recently used go, but never one that a ``CachedFolder`` holds: what is in use may take more than the bound. Where the disk is
/// full below the bound, as many go as make room, and none where all together would not.
package struct ArtifactCache {
    let artifacts: any WorkerArtifacts
    let directory: String
    let byteLimit: Int
    /// Names what is being laid out. A process id would not do: in containers that share the folder all workers have the same one.
    private let mark = String(UInt64.random(in: 0 ... .max), radix: 36)
    /// Least recently used first.
    private var entries: [Entry] = []

    private struct Entry {
        let digest: String
        let bytes: Int
        /// Nanoseconds of the clock that the file system goes by, as other processes see it.
        var usedAt: Int64
    }

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
        } catch { throw .transient("the cache folder cannot be used: \(error)") }
        CacheLeftovers.remove(below: directory)
        lookAgain()
    }

    /// The folder with an artifact's files, kept for as long as it is held; laid out now where it is not there yet, every digest checked.
    ///
    /// Of a manifest these are its files; plain bytes are one file, which ``plainFile(in:)`` finds.
    package mutating func folder(_ digest: String, watch: TransferWatch = TransferWatch()) throws(TransferError) -> CachedFolder {
        let path = path(of: digest)
        if let folder = CachedFolder(path: path) {
            markUsed(digest)
            return folder
        }
        let folder = try layOutWithRoom(digest, at: path, watch)
        markUsed(digest)
        makeRoom()
        return folder
    }

    /// The file of an artifact that is plain bytes; nil where the folder holds a manifest's files.
    static func plainFile(in folder: CachedFolder) -> String? {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
        return names == [WorkerArtifactNames.plain] ? folder.path + "/" + WorkerArtifactNames.plain : nil
    }

    private func path(of digest: String) -> String { "\(directory)/artifacts/\(digest)" }

    // MARK: Laying out

    /// Where the disk is full it is tried again for as long as room could be made.
    private mutating func layOutWithRoom(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) -> CachedFolder {
        var size: Int64 = 0
        let measuring = TransferWatch(
            progress: { done, total in
                size = max(size, total)
                watch.progress(done, total)
            }, isStopped: watch.isStopped)
        while true {
            do throws(TransferError) { return try layOut(digest, at: path, measuring) } catch {
                guard error.isFull else { throw error }
                if let capacity = DiskRoom.capacity(directory), size > capacity {
                    // No disk of this size will ever hold it, and that is no fault of the machine.
                    let why = "it has \(size) bytes, and all of the disk of \(directory) only \(capacity)"
                    throw .artifact(.unsuitable(path: "sha256:\(digest.prefix(12))…", why))
                }
                guard makeRoom(for: size, isQuota: error.isOverQuota) else { throw error }
            }
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

    private func putInPlace(_ digest: String, at path: String, _ watch: TransferWatch) throws(TransferError) {
        // Held until it is done, so that whoever tidies up can tell it from what a dead worker left half laid out.
        let beside = "\(directory)/artifacts/\(CacheLeftovers.layingPrefix)\(digest)-\(mark)"
        FileTree.remove(beside)
        if mkdir(beside, 0o755) != 0 {
            let problem = errno
            // Somebody emptied the cache under its workers: that is what a cache is for.
            guard problem == ENOENT, (try? FileManager.default.createDirectory(atPath: beside, withIntermediateDirectories: true)) != nil else {
                throw .artifact(.system(path: beside, errno: problem))
            }
        }
        let hold = CachedFolder(path: beside)
        defer { withExtendedLifetime(hold) { FileTree.remove(beside) } }
        try artifacts.layOut(digest, into: beside + "/files", watch: watch)
        guard rename(beside + "/files", path) != 0 else { return }
        let problem = errno
        guard FileTree.isFolder(path) else { throw .artifact(.system(path: path, errno: problem)) }
    }

    // MARK: Making room

    /// Notes the use of a folder, also for the other processes that share it.
    private mutating func markUsed(_ digest: String) {
        let now = FileClock.now
        let known = entries.firstIndex { $0.digest == digest }.map { entries.remove(at: $0) }
        entries.append(Entry(digest: digest, bytes: known?.bytes ?? FileSizes.total(path(of: digest)), usedAt: now))
        // One that another user laid out keeps its time: only they then see it as older than it is.
        FileClock.set(now, path(of: digest))
    }

    /// Reads what stands there by now: other processes lay out and evict, too.
    private mutating func lookAgain() {
        let known = Dictionary(entries.map { ($0.digest, $0) }) { first, _ in first }
        entries = FileTree.names(directory + "/artifacts").filter { $0.utf8.count == 64 }.compactMap { digest in
            guard let time = FileClock.time(of: path(of: digest)) else { return nil }
            guard var entry = known[digest] else { return Entry(digest: digest, bytes: FileSizes.total(path(of: digest)), usedAt: time) }
            entry.usedAt = max(entry.usedAt, time)
            return entry
        }
        entries.sort { ($0.usedAt, $0.digest) < ($1.usedAt, $1.digest) }
    }

    /// Evicts the least recently used of those that nobody holds, until the rest is within the bound.
    private mutating func makeRoom() {
        lookAgain()
        let (limit, folder) = (byteLimit, path(of: ""))
        var bytes = entries.reduce(0) { $0 + $1.bytes }
        entries.removeAll { entry in
            guard bytes > limit, CachedFolder.evict(folder + entry.digest) else { return false }
            bytes -= entry.bytes
            return true
        }
    }

    /// Makes room on a full disk: by what dead workers left, else by the least recently used of those that nobody holds, as many as it takes.
    /// - Parameters:
    ///   - size: bytes that are to come; 0 where nobody could say.
    ///   - isQuota: the disk has room, and this worker may not use it: nobody says how much it may.
    /// - Returns: false where that is in vain: nothing could be freed, or all of it would not do. Nothing is evicted then.
    private mutating func makeRoom(for size: Int64, isQuota: Bool) -> Bool {
        if CacheLeftovers.remove(below: directory) { return true }
        lookAgain()
        let free = isQuota ? 0 : DiskRoom.free(directory) ?? 0
        let evictable = entries.map { CachedFolder.isFree(path(of: $0.digest)) ? FileSizes.freed(byRemoving: path(of: $0.digest)) : 0 }
        guard isQuota || size <= free + evictable.reduce(0, +) else { return false }
        // Files take whole blocks, so a little more than their bytes; at least one goes each time, or the next try would be the same.
        let wanted = max(1, size + size / 64 - free)
        var (freed, evicted) = (Int64(0), Set<String>())
        for (entry, bytes) in zip(entries, evictable) where bytes > 0 && freed < wanted {
            guard CachedFolder.evict(path(of: entry.digest)) else { continue }
            freed += bytes
            evicted.insert(entry.digest)
        }
        entries.removeAll { evicted.contains($0.digest) }
        return !evicted.isEmpty
    }
}
