internal import DurableFiles
internal import Glibc

/// Removes artifacts that nothing names and that are old: `scriptorium artifacts gc`.
///
/// **Why nothing named is ever lost.** Whoever names an artifact in the database (a register, a task's pinning, a checkpoint's commit) renews its age
/// first, at most an hour before. A blob is removed in three moves: it is renamed into `trash/`, looked at again there, and only then deleted; where
/// it was renewed up to the rename it goes back. After the rename nobody finds it, so nobody can rely on it: a put asks for the bytes again, a register
/// is refused. What a killed collection left in `trash/` goes back to its place at the start of the next.
package struct ArtifactCollection {
    private let directory: ArtifactDirectory
    private let lock: Int32

    /// One blob.
    package struct Entry: Sendable, Equatable {
        package let sha256: String
        package let bytes: Int64
        package let ageSeconds: Int
    }

    /// What was found, and done.
    package struct Tally: Sendable, Equatable {
        /// Removed, or in a dry run: what would have been.
        package var removed: [Entry] = []
        /// Named, or a file of a manifest that is.
        package var named = 0
        /// Named by nothing, but not old enough.
        package var young = 0
        /// Could not be removed.
        package var failed: [String] = []

        package var removedBytes: Int64 { removed.reduce(0) { $0 + $1.bytes } }
    }

    /// - Throws: ``ArtifactError/unsuitable(path:_:)`` where another collection is under way.
    package init(_ directory: ArtifactDirectory) throws(ArtifactError) {
        self.directory = directory
        let path = directory.path + "/gc.lock"
        lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard lock >= 0 else { throw .system(path: path, errno: errno) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw .unsuitable(path: directory.path, "another collection is under way")
        }
        try FileSystem.makeFolders(trash)
    }

    /// Lets the next collection begin.
    package func end() { close(lock) }

    private var trash: String { directory.path + "/trash" }

    /// Which of some digests are here.
    package func present(_ digests: Set<String>) -> Int { digests.count { directory.has($0) } }

    /// Collects.
    /// - Parameters:
    ///   - named: digests that rows name, read before this is called.
    ///   - seconds: what was put or renewed later stays.
    ///   - isDryRun: only looks.
    package func collect(named: Set<String>, olderThanSeconds seconds: Int, isDryRun: Bool) -> Tally {
        if !isDryRun {
            restoreTrash()
            directory.removeLeftovers(olderThanSeconds: max(seconds, 86_400))
        }
        let spared = withFiles(of: named)
        var tally = Tally()
        for (sha256, path) in blobs() {
            guard !spared.contains(sha256) else { tally.named += 1; continue }
            guard let entry = Self.entry(sha256, at: path) else { continue }
            guard entry.ageSeconds > seconds else { tally.young += 1; continue }
            guard !isDryRun else { tally.removed.append(entry); continue }
            switch remove(sha256, at: path, olderThanSeconds: seconds) {
            case .removed: tally.removed.append(entry)
            case .renewed: tally.young += 1
            case .failed: tally.failed.append(sha256)
            }
        }
        return tally
    }

    /// The named artifacts, and the files of those that are manifests.
    private func withFiles(of named: Set<String>) -> Set<String> {
        var spared = named
        for sha256 in named where directory.isManifest(sha256) {
            if let manifest = try? directory.manifest(sha256) { spared.formUnion(manifest.files.map(\.sha256)) }
        }
        return spared
    }

    private func blobs() -> [(sha256: String, path: String)] {
        FileTree.names(directory.path + "/sha256").flatMap { folder in
            FileTree.names(directory.path + "/sha256/" + folder).filter(Manifest.isDigest).map { ($0, directory.location(of: $0)) }
        }
    }

    private static func entry(_ sha256: String, at path: String) -> Entry? {
        var status = stat()
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        guard lstat(path, &status) == 0 else { return nil }
        return Entry(sha256: sha256, bytes: Int64(status.st_size), ageSeconds: Int(now.tv_sec) - Int(status.st_mtim.tv_sec))
    }

    // MARK: Removing

    /// How a removal went.
    package enum Removal { case removed, renewed, failed }

    /// The three moves; between them a test may act.
    package func remove(_ sha256: String, at path: String, olderThanSeconds seconds: Int, afterRename: () -> Void = {}) -> Removal {
        let aside = trash + "/" + sha256
        guard rename(path, aside) == 0 else { return errno == ENOENT ? .renewed : .failed }
        afterRename()
        if let entry = Self.entry(sha256, at: aside), entry.ageSeconds > seconds { return unlink(aside) == 0 ? .removed : .failed }
        return rename(aside, path) == 0 ? .renewed : .failed
    }

    private func restoreTrash() {
        for sha256 in FileTree.names(trash) where Manifest.isDigest(sha256) {
            let (aside, path) = (trash + "/" + sha256, directory.location(of: sha256))
            if directory.has(sha256) { unlink(aside) } else { rename(aside, path) }
        }
    }
}
