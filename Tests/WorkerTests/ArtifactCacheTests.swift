import ArtifactStore
import DurableFiles
import Glibc
import TestSupport
import Testing
import Worker

@Suite("The cache of artifacts")
struct ArtifactCacheTests {
    private let temporary: TemporaryDirectory
    private let store: ArtifactDirectory
    private let digests: [String]

    init() throws {
        temporary = try TemporaryDirectory()
        store = try ArtifactDirectory(path: temporary.path + "/artifacts")
        var digests: [String] = []
        for number in 0..<3 {
            let file = temporary.path + "/\(number)"
            try DurableFile.write(Array(repeating: UInt8(number), count: 1000), to: file)
            digests.append(try store.put(files: [("data", file)]).sha256)
        }
        self.digests = digests
    }

    private func cache(bytes: Int) throws -> ArtifactCache {
        try ArtifactCache(store: store, directory: temporary.path + "/cache", byteLimit: bytes)
    }

    private var standing: Set<String> { Set(FileTree.names(temporary.path + "/cache/artifacts")) }

    @Test("above its bound the least recently used go, and none that is held")
    func evicts() throws {
        var cache = try cache(bytes: 2000)
        var first: CachedFolder? = try cache.folder(digests[0])
        _ = try cache.folder(digests[1])
        _ = try cache.folder(digests[2])
        #expect(standing == [digests[0], digests[2]])
        #expect(first.map { FileTree.names($0.path) } == ["data"])
        first = nil
        _ = try cache.folder(digests[1])
        #expect(standing == [digests[1], digests[2]])
    }

    @Test("what is in use may take more than the bound, and goes when it is let go")
    func overfull() throws {
        var cache = try cache(bytes: 1)
        let held = try digests.map { try cache.folder($0) }
        #expect(standing == Set(digests))
        #expect(held.allSatisfy { FileTree.names($0.path) == ["data"] })
        withExtendedLifetime(held) {}
        let again = try cache.folder(digests[0])
        #expect(FileTree.names(again.path) == ["data"])
    }

    @Test("a folder that another worker holds is spared, and one that another evicted is laid out anew")
    func shared() throws {
        var (mine, theirs) = (try cache(bytes: 1000), try cache(bytes: 1000))
        let held = try theirs.folder(digests[0])
        _ = try mine.folder(digests[0])
        _ = try mine.folder(digests[1])
        #expect(FileTree.names(held.path) == ["data"])
        FileTree.remove(temporary.path + "/cache/artifacts/" + digests[1])
        #expect(FileTree.names(try mine.folder(digests[1]).path) == ["data"])
    }

    @Test("what another worker with this process id is laying out is left alone: containers that share the folder all have the same one")
    func samePID() throws {
        let theirs = "\(temporary.path)/cache/artifacts/.\(digests[0])-\(getpid())"
        try FileTree.makeFolders(theirs)
        try DurableFile.write([1], to: theirs + "/half")
        var cache = try cache(bytes: 2000)
        #expect(FileTree.names(try cache.folder(digests[0]).path) == ["data"])
        #expect(FileTree.names(theirs) == ["half"])
    }

    @Test("what another worker laid out meanwhile is used as it is, and evicted with the rest by when it was used")
    func usesOthers() throws {
        var (mine, theirs) = (try cache(bytes: 2000), try cache(bytes: 2000))
        _ = try theirs.folder(digests[0])
        let blob = store.path + "/sha256"
        try #require(rename(blob, blob + "-away") == 0)
        #expect(FileTree.names(try mine.folder(digests[0]).path) == ["data"])
        try #require(rename(blob + "-away", blob) == 0)
        // Theirs is the older one by now, as they used it first; what they use again is not.
        _ = try theirs.folder(digests[1])
        _ = try theirs.folder(digests[0])
        _ = try mine.folder(digests[2])
        #expect(standing == [digests[0], digests[2]])
    }

    @Test("a cache that was emptied under its worker is filled anew") func emptied() throws {
        var mine = try cache(bytes: 2000)
        _ = try mine.folder(digests[0])
        FileTree.remove(temporary.path + "/cache/artifacts")
        #expect(FileTree.names(try mine.folder(digests[0]).path) == ["data"])
        #expect(FileTree.names(try mine.folder(digests[1]).path) == ["data"])
    }

    @Test("nothing of what is laid out half way looks like a leftover while its worker lives, and nothing is left of it afterwards")
    func holdsWhatItLaysOut() throws {
        var (mine, theirs) = (try cache(bytes: 2000), try cache(bytes: 2000))
        let artifacts = temporary.path + "/cache/artifacts"
        var laying: [String] = []
        let watch = TransferWatch(progress: { [digests] _, _ in
            laying = FileTree.names(artifacts).filter { $0.contains(digests[0]) }
            for name in laying { Self.age(artifacts + "/" + name, seconds: 120) }
            // A worker that starts tidies up.
            theirs = (try? self.cache(bytes: 2000)) ?? theirs
        })
        #expect(FileTree.names(try mine.folder(digests[0], watch: watch).path) == ["data"])
        #expect(laying.count == 1 && standing == [digests[0]])
    }

    private static func age(_ path: String, seconds: Int) {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let old = timeval(tv_sec: now.tv_sec - seconds, tv_usec: 0)
        #expect(utimes(path, [old, old]) == 0)
    }

    @Test("what dead workers left goes after a minute, what a living one holds stays, however long it runs")
    func leftovers() throws {
        let names = ["work-dead", "work-living", "artifacts/.laying-abc-dead", "work-new", "artifacts/.abc-earlier"].map {
            temporary.path + "/cache/" + $0
        }
        for name in names { try FileTree.makeFolders(name + "/inside") }
        let lock = open(names[1], O_RDONLY | O_DIRECTORY)
        defer { close(lock) }
        #expect(flock(lock, LOCK_SH | LOCK_NB) == 0)
        for name in names where !name.hasSuffix("new") { Self.age(name, seconds: 120) }
        _ = try cache(bytes: 2000)
        #expect(names.map { FileTree.isFolder($0 + "/inside") } == [false, true, false, true, true])
        // Earlier versions lay out without holding: theirs are given a day.
        Self.age(names[4], seconds: 90_000)
        _ = try cache(bytes: 2000)
        #expect(!FileTree.isFolder(names[4]))
        #expect(FileTree.names(temporary.path + "/cache") == ["artifacts", "work-living", "work-new"])
    }

    @Test("what another user laid out stays in its place, and what cannot be removed whole counts as gone at no try")
    func othersFolders() throws {
        var cache = try cache(bytes: 2000)
        let (whole, half) = (try cache.folder(digests[0]).path, try cache.folder(digests[1]).path)
        try FileTree.makeFolders(half + "/inside")
        try DurableFile.write([1], to: half + "/inside/file")
        let modes: [(String, mode_t)] = [
            (temporary.path, 0o755), (temporary.path + "/cache/artifacts", 0o777), (whole, 0o555), (half, 0o777), (half + "/inside", 0o555),
        ]
        for (path, mode) in modes { try #require(chmod(path, mode) == 0) }
        #expect(!asNobody { CachedFolder.evict(whole) } && FileTree.names(whole) == ["data"])
        #expect(!asNobody { CachedFolder.evict(half) })
        let aside = try #require(standing.first { $0.hasPrefix(".evicted-") })
        #expect(!asNobody { CachedFolder.evict("\(temporary.path)/cache/artifacts/\(aside)") } && standing.count == 2)
        let left = try #require(standing.first { $0.hasPrefix(".evicted-") })
        let path = "\(temporary.path)/cache/artifacts/\(left)"
        try #require(chmod(path + "/inside", 0o755) == 0 && chmod(whole, 0o755) == 0)
        #expect(CachedFolder.evict(path) && CachedFolder.evict(whole) && standing == [])
    }

    @Test("an artifact that is not in the store leaves nothing behind")
    func missing() throws {
        var cache = try cache(bytes: 1000)
        #expect(throws: TransferError.self) { _ = try cache.folder(String(repeating: "e", count: 64)) }
        #expect(standing == [])
    }
}
