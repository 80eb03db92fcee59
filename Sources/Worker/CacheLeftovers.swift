import DurableFiles
import Glibc

/// What workers that were killed left in a cache folder: their work folders, what they were laying out, and what they were evicting.
///
/// A living worker holds the lock of each of these (``CachedFolder``), so the lock decides; age alone would take the folder of one that runs for long.
/// Whoever has just made one holds it within a minute.
enum CacheLeftovers {
    /// How the folder of an artifact begins that is being laid out.
    static let layingPrefix = ".laying-"

    /// Kinds of folders, by how their names begin and by the seconds after which an unheld one is nobody's.
    private static let kinds: [(folder: String, prefix: String, seconds: Int)] = [
        ("", "work-", 60), ("", ".evicted-", 60), ("/artifacts", layingPrefix, 60), ("/artifacts", ".evicted-", 60),
        // An earlier version lays out without holding: it may be at work for long.
        ("/artifacts", ".", 86_400),
    ]

    /// - Returns: whether anything went.
    @discardableResult
    static func remove(below directory: String) -> Bool {
        let now = FileClock.now
        var isAnythingGone = false
        for kind in kinds {
            let folder = directory + kind.folder
            for name in FileTree.names(folder) where name.hasPrefix(kind.prefix) {
                let path = folder + "/" + name
                guard let time = FileClock.time(of: path), now - time > Int64(kind.seconds) * FileClock.second else { continue }
                if CachedFolder.evict(path) { isAnythingGone = true }
            }
        }
        return isAnythingGone
    }
}
