import ArtifactStore
import Encodings
import Foundation
import Synchronization
import TaskProtocol
import TestSupport
import Testing

@Suite("Collection of artifacts that nothing names") struct ArtifactCollectionTests {
    private let folder: TemporaryDirectory
    private let store: ArtifactDirectory

    init() throws {
        folder = try TemporaryDirectory()
        store = try ArtifactDirectory(path: folder.path + "/store")
    }

    private func age(_ digest: String, hours: Double, in place: String? = nil) throws {
        let date = Date(timeIntervalSinceNow: -hours * 3600)
        try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: place ?? store.location(of: digest))
    }

    private func put(_ text: String, hours: Double) throws -> String {
        let digest = try store.put(Array(text.utf8))
        try age(digest, hours: hours)
        return digest
    }

    private func collect(_ named: Set<String>, isDryRun: Bool = false) throws -> ArtifactCollection.Tally {
        let collection = try ArtifactCollection(store)
        defer { collection.end() }
        return collection.collect(named: named, olderThanSeconds: 86_400, isDryRun: isDryRun)
    }

    @Test("what is named stays with all files of its manifest, what is young stays, the rest goes") func rules() throws {
        let file = try put("a file", hours: 50)
        let manifest = try store.put(Manifest(files: [try Manifest.File(path: "f", sha256: file, size: 6)]))
        try age(manifest.sha256, hours: 50)
        let other = try put("named itself", hours: 50)
        let young = try put("young", hours: 23)
        let old = try put("old", hours: 25)
        let named: Set = [manifest.sha256, other, String(repeating: "f", count: 64)]
        let dry = try collect(named, isDryRun: true)
        #expect(dry.removed.map(\.sha256) == [old] && dry.removedBytes == 3 && dry.named == 3 && dry.young == 1)
        #expect(store.has(old))
        #expect(try collect(named).removed.map(\.sha256) == [old])
        #expect(!store.has(old) && [file, manifest.sha256, other, young].allSatisfy(store.has))
        #expect(try collect([]).removed.count == 3)
        #expect(store.has(young))
    }

    @Test("a blob that is renewed before it is moved away comes back; afterwards nobody finds it, and a put brings it anew") func races() throws {
        let collection = try ArtifactCollection(store)
        defer { collection.end() }
        let path = { (digest: String) in store.location(of: digest) }
        // Renewed between the look at its age and the move.
        let renewed = try put("renewed", hours: 30)
        try age(renewed, hours: 0)
        #expect(collection.remove(renewed, at: path(renewed), olderThanSeconds: 86_400) == .renewed)
        #expect(store.has(renewed))
        // Asked for after the move: it is not here for anybody, and putting it makes it be here, whatever becomes of the old one.
        let gone = try put("gone", hours: 30)
        let seen = Mutex<[Bool]>([])
        let removal = collection.remove(gone, at: path(gone), olderThanSeconds: 86_400) {
            let isRenewed = store.renew(gone, size: 4)
            let digest = try? store.put(Array("gone".utf8))
            seen.withLock { $0 = [isRenewed, digest == gone] }
        }
        #expect(removal == .removed)
        #expect(seen.withLock { $0 } == [false, true])
        #expect(try store.bytes(gone) == Array("gone".utf8))
        #expect(collection.remove(String(repeating: "0", count: 64), at: path(String(repeating: "0", count: 64)), olderThanSeconds: 0) == .renewed)
    }

    @Test("puts, renewals and a collection at once: whoever was told that an artifact is there finds it there afterwards") func atOnce() throws {
        let names = (0..<40).map { "text \($0)" }
        for round in 0..<5 {
            for name in names { _ = try put(name, hours: 30) }
            let kept = Mutex<Set<String>>([])
            let others = DispatchGroup()
            for worker in 0..<2 {
                DispatchQueue.global().async(group: others) { [store] in
                    for name in worker == 0 ? names : names.reversed() {
                        let digest = SHA256Digest.hex(of: Array(name.utf8))
                        let isHere = worker == 0 ? store.renew(digest, size: Int64(name.utf8.count)) : (try? store.put(Array(name.utf8))) != nil
                        if isHere { kept.withLock { _ = $0.insert(digest) } }
                    }
                }
            }
            _ = try collect([])
            others.wait()
            for digest in kept.withLock({ $0 }) { #expect(store.has(digest), "round \(round)") }
            #expect(try FileManager.default.contentsOfDirectory(atPath: store.path + "/trash") == [], "round \(round)")
        }
    }

    @Test("what a killed collection moved away comes back at the start of the next; two at once are refused") func crashes() throws {
        let named = try put("named", hours: 30)
        let first = try ArtifactCollection(store)
        #expect(throws: ArtifactError.self) { try ArtifactCollection(store) }
        first.end()
        try FileManager.default.moveItem(atPath: store.location(of: named), toPath: store.path + "/trash/" + named)
        #expect(!store.has(named))
        #expect(try collect([named]).named == 1)
        #expect(try store.bytes(named) == Array("named".utf8))
    }

    @Test("what was found is remembered for an hour, with its age renewed once; what is missing is not") func presence() throws {
        let time = Mutex<Int64>(0)
        let presence = ArtifactPresence(store, now: { time.withLock { $0 } })
        let digest = SHA256Digest.hex(of: Array("later".utf8))
        #expect(presence.standing(of: digest) == .missing)
        _ = try put("later", hours: 30)
        #expect(presence.standing(of: digest) == .present)
        #expect(try collect([]).removed == [], "its age was renewed")
        try age(digest, hours: 30)
        time.withLock { $0 = 3599 }
        #expect(presence.standing(of: digest) == .present)
        #expect(try collect([], isDryRun: true).removed.count == 1, "within the hour nothing is touched")
        time.withLock { $0 = 3600 }
        #expect(presence.standing(of: digest) == .present)
        #expect(try collect([], isDryRun: true).removed == [])
        // A manifest stands with all of its files, or not at all.
        let manifest = try store.put(Manifest(files: [try Manifest.File(path: "f", sha256: digest, size: 5)]))
        #expect(presence.standing(of: manifest.sha256) == .present)
        let broken = try store.put(Manifest(files: [try Manifest.File(path: "f", sha256: String(repeating: "1", count: 64), size: 5)]))
        #expect(presence.standing(of: broken.sha256) == .missing)
        try FileManager.default.removeItem(atPath: store.path + "/sha256")
        #expect(presence.standing(of: broken.sha256) == .unreachable, "a store that is not mounted says nothing")
    }
}
