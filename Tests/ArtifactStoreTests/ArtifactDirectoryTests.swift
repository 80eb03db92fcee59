import ArtifactStore
import Encodings
import Foundation
import TestSupport
import Testing

@Suite("Artifacts in a folder") struct ArtifactDirectoryTests {
    private let folder: TemporaryDirectory
    private let store: ArtifactDirectory

    init() throws {
        folder = try TemporaryDirectory()
        store = try ArtifactDirectory(path: folder.path + "/store")
    }

    private func write(_ text: String, _ path: String) throws {
        let url = URL(filePath: folder.path + "/" + path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
    }

    private func leftovers() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: store.path + "/tmp") }

    @Test("bytes come back by their digest, from the place that the digest names") func bytes() throws {
        let digest = try store.put(Array("hello".utf8))
        #expect(digest == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
        #expect(store.has(digest) && store.size(of: digest) == 5)
        #expect(store.location(of: digest) == store.path + "/sha256/2c/" + digest)
        #expect(try store.bytes(digest) == Array("hello".utf8))
        #expect(try store.put(Array("hello".utf8), expected: digest) == digest)
        #expect(try store.put([]).hasPrefix("e3b0c442"))
        #expect(try leftovers() == [])
    }

    @Test("bytes of another digest than told are refused and leave nothing behind") func mismatch() throws {
        let digest = String(repeating: "0", count: 64)
        #expect(throws: ArtifactError.self) { try store.put(Array("hello".utf8), expected: digest) }
        try write("hello", "file")
        #expect(throws: ArtifactError.self) { try store.put(file: folder.path + "/file", expected: digest) }
        #expect(!store.has(digest) && !store.has(SHA256Digest.hex(of: Array("hello".utf8))))
        #expect(try leftovers() == [])
    }

    @Test("a folder becomes a manifest in canonical JSON, and comes back as it was") func directory() throws {
        try write("{}", "model/config.json")
        try write(String(repeating: "weights", count: 400_000), "model/deep/er/model.safetensors")
        try write("", "model/empty")
        let manifest = try store.putDirectory(folder.path + "/model")
        #expect(manifest.files.map(\.path) == ["config.json", "deep/er/model.safetensors", "empty"])
        #expect(manifest.byteCount == 2_800_002 && store.isManifest(manifest.sha256) && store.hasAll(ofManifest: manifest.sha256))
        let text = String(decoding: manifest.json, as: UTF8.self)
        #expect(text.hasPrefix("{\"files\":[{\"path\":\"config.json\",\"sha256\":\"") && !text.contains(" "))
        #expect(try store.manifest(manifest.sha256) == manifest)
        var progress: [Int64] = []
        try store.materialise(manifest.sha256, into: folder.path + "/out") { done, total in
            #expect(total == manifest.byteCount)
            progress.append(done)
        }
        #expect(progress.first == 0 && progress.last == 2_800_002 && progress.count > 3 && progress == progress.sorted(), "a sign of life a MiB")
        for file in manifest.files {
            let copy = try Data(contentsOf: URL(filePath: folder.path + "/out/" + file.path))
            #expect(try copy == Data(contentsOf: URL(filePath: folder.path + "/model/" + file.path)))
        }
        #expect(try store.putDirectory(folder.path + "/out").sha256 == manifest.sha256)
    }

    @Test("who looks on may end it between two MiB, and no folder is left half made") func stopped() throws {
        try write(String(repeating: "weights", count: 400_000), "model/model.safetensors")
        let manifest = try store.putDirectory(folder.path + "/model")
        var seen: [Int64] = []
        #expect(throws: ArtifactError.stopped) {
            try store.materialise(manifest.sha256, into: folder.path + "/out") { done, _ throws(ArtifactError) in
                seen.append(done)
                if done > 0 { throw .stopped }
            }
        }
        #expect(seen == [0, 1 << 20] && !FileManager.default.fileExists(atPath: folder.path + "/out"))
    }

    @Test("a blob that was tampered with is noticed, and no folder is left half made") func tampered() throws {
        try write("one", "model/a")
        try write("two", "model/b")
        let manifest = try store.putDirectory(folder.path + "/model")
        let blob = store.location(of: manifest.files[1].sha256)
        try FileManager.default.removeItem(atPath: blob)
        try Data("owt".utf8).write(to: URL(filePath: blob))
        #expect(throws: ArtifactError.digestMismatch(expected: manifest.files[1].sha256, actual: SHA256Digest.hex(of: Array("owt".utf8)))) {
            try store.materialise(manifest.sha256, into: folder.path + "/out")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/out"))
        try FileManager.default.removeItem(atPath: blob)
        #expect(throws: ArtifactError.missing(sha256: manifest.files[1].sha256)) {
            try store.materialise(manifest.sha256, into: folder.path + "/out")
        }
        #expect(!store.hasAll(ofManifest: manifest.sha256))
    }

    @Test(
        "a manifest that could write outside its folder is refused",
        arguments: ["/etc/passwd", "../up", "a/../../up", "a//b", "./a", "", "a/", "..", "a\\..\\b", "a\u{0}b"]) func unsafePath(path: String) throws
    {
        let digest = try store.put(Array("x".utf8))
        #expect(throws: ArtifactError.self) { try Manifest.File(path: path, sha256: digest, size: 1) }
        let json: JSONValue = ["files": [["path": .string(path), "sha256": .string(digest), "size": 1]]]
        let manifest = try store.put(json.canonical)
        #expect(throws: ArtifactError.self) { try store.materialise(manifest, into: folder.path + "/out") }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/out"))
    }

    @Test("a manifest has one form: another spelling, a path twice or a file as a folder is refused") func oneForm() throws {
        let digest = String(repeating: "a", count: 64)
        let a = try Manifest.File(path: "a", sha256: digest, size: 1)
        let below = try Manifest.File(path: "a/b", sha256: digest, size: 1)
        #expect(throws: ArtifactError.self) { try Manifest(files: [a, a]) }
        #expect(throws: ArtifactError.self) { try Manifest(files: [a, below]) }
        #expect(throws: ArtifactError.self) { try Manifest(files: []) }
        let good = try Manifest(files: [a]).json
        #expect(try Manifest(json: good).files == [a])
        #expect(throws: ArtifactError.self) { try Manifest(json: good + [UInt8(ascii: " ")]) }
        #expect(throws: ArtifactError.self) { try Manifest(json: Array("[]".utf8)) }
    }

    @Test("links and other strange files are refused") func links() throws {
        try write("secret", "secret")
        try write("x", "model/x")
        try FileManager.default.createSymbolicLink(atPath: folder.path + "/model/link", withDestinationPath: folder.path + "/secret")
        #expect(throws: ArtifactError.self) { try store.putDirectory(folder.path + "/model") }
    }

    @Test("a full disk is an error that leaves nothing behind") func fullDisk() throws {
        // A file size limit of this thread's process would hurt other tests: a file system of 64 KiB stands in where it can be mounted.
        guard getuid() == 0 else { return }
        let mount = folder.path + "/small"
        try FileManager.default.createDirectory(atPath: mount, withIntermediateDirectories: true)
        let process = Process()
        process.executableURL = URL(filePath: "/bin/mount")
        process.arguments = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", mount]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { return }
        defer {
            let unmount = Process()
            unmount.executableURL = URL(filePath: "/bin/umount")
            unmount.arguments = [mount]
            try? unmount.run()
            unmount.waitUntilExit()
        }
        let small = try ArtifactDirectory(path: mount + "/store")
        let bytes = [UInt8](repeating: 7, count: 1 << 20)
        #expect(throws: ArtifactError.self) { try small.put(bytes) }
        #expect(!small.has(SHA256Digest.hex(of: bytes)))
        #expect(try FileManager.default.contentsOfDirectory(atPath: mount + "/store/tmp") == [])
        #expect(try small.put(Array("small".utf8)).count == 64)
    }

    @Test("leftovers of a crash go by age") func leftoversGo() throws {
        try write("half", "store/tmp/half")
        store.removeLeftovers(olderThanSeconds: 3600)
        #expect(try leftovers() == ["half"])
        store.removeLeftovers(olderThanSeconds: -10)
        #expect(try leftovers() == [])
    }
}
