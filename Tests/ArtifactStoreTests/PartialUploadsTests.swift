import ArtifactStore
import Encodings
import Foundation
import TaskProtocol
import TestSupport
import Testing

@Suite("Artifacts that come in part by part") struct PartialUploadsTests {
    private let folder: TemporaryDirectory
    private let store: ArtifactDirectory

    init() throws {
        folder = try TemporaryDirectory()
        store = try ArtifactDirectory(path: folder.path + "/store")
    }

    private static func noise(_ count: Int, seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
    }

    private func part(_ bytes: [UInt8], _ range: Range<Int>) -> ArtifactPut {
        ArtifactPut(sha256: SHA256Digest.hex(of: bytes), size: Int64(bytes.count), offset: Int64(range.lowerBound), data: Array(bytes[range]))
    }

    private func leftovers() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: store.path + "/tmp") }

    /// Every size, offset, length and state of a small world, against what a list of bytes would do.
    @Test("a part is kept, appended or given up as a list of bytes would have it") func steps() {
        for size in 0...6 {
            for have in 0...8 {
                for offset in 0...size {
                    for count in 0...(size - offset) {
                        let put = ArtifactPut(sha256: "", size: Int64(size), offset: Int64(offset), data: [UInt8](repeating: 1, count: count))
                        let step = UploadStep(have: Int64(have), put: put)
                        let said = "have \(have) of \(size), \(count) bytes at \(offset)"
                        switch step {
                        case .startOver: #expect(have > size, "\(said)")
                        case .keep: #expect(have <= size && (offset > have || offset + count <= have), "\(said)")
                        case .append(let first): #expect(have <= size && offset + first == have && offset + count > have && first < count, "\(said)")
                        }
                    }
                }
            }
        }
        #expect(UploadStep(have: 5, put: ArtifactPut(sha256: "", size: nil)) == .keep)
    }

    @Test("parts in any order, doubled, overlapping and from two processes make the artifact, once the last byte is there")
    func anyOrder() throws {
        for seed in UInt64(1)...30 {
            var random = SeededGenerator(seed: seed)
            let bytes = Self.noise(1 + Int(random.next() % 5000), seed: seed)
            let digest = SHA256Digest.hex(of: bytes)
            // Two servers of one folder: two brokers.
            var servers = [PartialUploads(store), PartialUploads(store)]
            var have: Int64 = 0
            var rounds = 0
            while have < bytes.count {
                let first = random.next() % 3 == 0 ? Int(random.next() % UInt64(bytes.count)) : Int(have)
                let end = min(bytes.count, first + 1 + Int(random.next() % 700))
                let answer = try servers[Int(random.next() % 2)].put(part(bytes, first..<end))
                #expect(answer == (first <= have ? max(have, Int64(end)) : have), "seed \(seed)")
                have = answer
                #expect(store.has(digest) == (have == bytes.count), "seed \(seed)")
                // A server that forgot everything goes on from the file.
                if random.next() % 10 == 0 { servers[0] = PartialUploads(store) }
                rounds += 1
            }
            #expect(try store.bytes(digest) == bytes, "seed \(seed)")
            #expect(try leftovers() == [], "seed \(seed), \(rounds) parts")
        }
    }

    @Test("an artifact that is asked for says how much is there, and one that is there is renewed") func asking() throws {
        let bytes = Self.noise(900, seed: 3)
        let digest = SHA256Digest.hex(of: bytes)
        var uploads = PartialUploads(store)
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: 900)) == 0)
        #expect(try leftovers() == [], "asking makes no file")
        #expect(try uploads.put(part(bytes, 0..<400)) == 400)
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: 900)) == 400)
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: nil)) == 400)
        #expect(try uploads.put(part(bytes, 400..<900)) == 900)
        try FileManager.default.setAttributes([.modificationDate: Date(timeIntervalSinceNow: -90_000)], ofItemAtPath: store.location(of: digest))
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: 900)) == 900)
        let changed = try FileManager.default.attributesOfItem(atPath: store.location(of: digest))[.modificationDate] as? Date
        #expect(changed.map { $0.timeIntervalSinceNow > -3600 } == true)
        #expect(throws: ArtifactError.sizeMismatch(told: 901, actual: 900)) { try uploads.put(ArtifactPut(sha256: digest, size: 901)) }
    }

    @Test("nothing of a wrong digest is kept, whoever sent which part of it") func wrongDigest() throws {
        let bytes = Self.noise(1000, seed: 4)
        let digest = SHA256Digest.hex(of: bytes)
        var uploads = PartialUploads(store)
        let lie = ArtifactPut(sha256: digest, size: 1000, offset: 0, data: Self.noise(600, seed: 5))
        #expect(try uploads.put(lie) == 600)
        #expect(throws: ArtifactError.self) { try uploads.put(part(bytes, 600..<1000)) }
        #expect(!store.has(digest))
        #expect(try leftovers() == [])
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: 1000)) == 0)
        #expect(try uploads.put(part(bytes, 0..<1000)) == 1000)
        // One who told a larger size leaves more than there can be: that goes.
        let small = Self.noise(10, seed: 6)
        _ = try uploads.put(ArtifactPut(sha256: SHA256Digest.hex(of: small), size: 50, offset: 0, data: Self.noise(20, seed: 7)))
        #expect(try uploads.put(ArtifactPut(sha256: SHA256Digest.hex(of: small), size: 10)) == 0)
        #expect(try uploads.put(part(small, 0..<10)) == 10)
    }

    @Test("an empty artifact needs no part") func empty() throws {
        var uploads = PartialUploads(store)
        let digest = SHA256Digest.hex(of: [])
        #expect(try uploads.put(ArtifactPut(sha256: digest, size: 0)) == 0)
        #expect(store.size(of: digest) == 0)
        #expect(throws: ArtifactError.self) { try uploads.put(ArtifactPut(sha256: String(repeating: "a", count: 64), size: 0)) }
        #expect(try leftovers() == [])
    }

    @Test(
        "what is no digest never becomes a path",
        arguments: ["", "../../etc/passwd", String(repeating: "A", count: 64), String(repeating: "/", count: 64)])
    func noDigest(name: String) throws {
        var server = ArtifactServer(store)
        #expect(throws: ArtifactError.malformedDigest) { try server.perform(.put(ArtifactPut(sha256: name, size: 1, offset: 0, data: [1]))) }
        #expect(throws: ArtifactError.malformedDigest) { try server.perform(.fetch(ArtifactFetch(sha256: name))) }
        #expect(try leftovers() == [])
    }

    @Test("another process that holds the file makes it busy, and one that made it whole is not written into") func otherProcesses() throws {
        let bytes = Self.noise(500, seed: 8)
        let digest = SHA256Digest.hex(of: bytes)
        var uploads = PartialUploads(store)
        _ = try uploads.put(part(bytes, 0..<100))
        let file = open(store.path + "/tmp/put-" + digest, O_RDWR)
        #expect(flock(file, LOCK_EX | LOCK_NB) == 0)
        #expect(throws: ArtifactError.busy(sha256: digest)) { try uploads.put(part(bytes, 100..<500)) }
        close(file)
        #expect(try uploads.put(part(bytes, 100..<500)) == 500)
    }

    @Test("a part is read from its offset, at most 1 MiB of it, and nothing is read behind the end") func fetching() throws {
        let bytes = Self.noise((1 << 20) + 77, seed: 9)
        let digest = try store.put(bytes)
        var server = ArtifactServer(store)
        func fetch(_ offset: Int, _ length: Int) throws -> ArtifactAnswer {
            try server.perform(.fetch(ArtifactFetch(sha256: digest, offset: Int64(offset), length: length)))
        }
        let size = Int64(bytes.count)
        #expect(try fetch(0, 10) == .data(Array(bytes[..<10]), size: size))
        #expect(try fetch(0, 5 << 20) == .data(Array(bytes[..<(1 << 20)]), size: size))
        #expect(try fetch(1 << 20, 1 << 20) == .data(Array(bytes[(1 << 20)...]), size: size))
        #expect(try fetch(bytes.count, 9) == .data([], size: size))
        #expect(throws: ArtifactError.beyondEnd(offset: size + 1, size: size)) { try fetch(bytes.count + 1, 1) }
        let unknown = String(repeating: "0", count: 64)
        #expect(throws: ArtifactError.missing(sha256: unknown)) { try server.perform(.fetch(ArtifactFetch(sha256: unknown))) }
    }

    @Test("what is told to whoever asked names a field of the contract, and never a path") func contractErrors() {
        let digest = String(repeating: "a", count: 64)
        let table: [(ArtifactError, ErrorCode, String?)] = [
            (.missing(sha256: digest), .notFound, "sha256"), (.digestMismatch(expected: digest, actual: digest), .invalidArgument, "sha256"),
            (.malformedDigest, .invalidArgument, "sha256"), (.sizeMismatch(told: 1, actual: 2), .invalidArgument, "size"),
            (.beyondEnd(offset: 2, size: 1), .invalidArgument, "offset"), (.busy(sha256: digest), .busy, nil),
            (.system(path: "/secret", errno: ENOSPC), .unavailable, nil), (.system(path: "/secret", errno: EDQUOT), .unavailable, nil),
            (.system(path: "/secret", errno: EIO), .internalError, nil),
        ]
        for (error, code, field) in table {
            let told = error.contractError
            #expect(told.code == code && told.field == field && !told.message.contains("/secret"), "\(error)")
        }
    }
}
