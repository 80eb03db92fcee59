import ArtifactStore
import Encodings
import Foundation
import Synchronization
import TaskProtocol
import TestSupport
import Testing

/// A store behind a line that breaks, refuses and forgets, from a seed.
private final class FaultyTransport: ArtifactTransport {
    private var server: ArtifactServer
    private var random: SeededGenerator
    private var events: [TransportEvent] = []
    private let faults: UInt64
    private(set) var bytesUp = 0
    private(set) var breaks = 0
    /// Changes what comes back.
    var corrupts = false

    init(_ store: ArtifactDirectory, seed: UInt64, faults: UInt64) {
        server = ArtifactServer(store)
        random = SeededGenerator(seed: seed)
        self.faults = faults
    }

    private func happens() -> Bool { faults > 0 && random.next() % 100 < faults }

    func send(_ operation: ArtifactOperation, number: Int64) throws(TransferError) {
        bytesUp += operation.byteCount
        if happens() {
            breaks += 1
            events = [.lost]
            return
        }
        if happens() {
            events.append(.answer(number: number, .refused(ContractError(.busy, "later"))))
            return
        }
        do throws(ArtifactError) {
            var answer = try server.perform(operation)
            if corrupts, case .data(var data, let size) = answer, !data.isEmpty {
                data[0] ^= 1
                answer = .data(data, size: size)
            }
            events.append(.answer(number: number, answer))
        } catch { events.append(.answer(number: number, .refused(error.contractError))) }
    }

    func next(milliseconds: Int) throws(TransferError) -> TransportEvent { events.isEmpty ? .nothing : events.removeFirst() }
}

/// A store without room.
private final class FullStore: ArtifactTransport {
    static let error = ContractError(.unavailable, "the artifact store is full")
    private var asked: [Int64] = []

    func send(_ operation: ArtifactOperation, number: Int64) throws(TransferError) { asked.append(number) }
    func next(milliseconds: Int) throws(TransferError) -> TransportEvent {
        asked.isEmpty ? .nothing : .answer(number: asked.removeFirst(), .refused(Self.error))
    }
}

@Suite("Transfers of artifacts") struct ArtifactTransferTests {
    private let folder: TemporaryDirectory
    private let store: ArtifactDirectory

    init() throws {
        folder = try TemporaryDirectory()
        store = try ArtifactDirectory(path: folder.path + "/store")
    }

    private func write(_ bytes: [UInt8], _ path: String) throws -> String {
        let url = URL(filePath: folder.path + "/" + path)
        try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: url)
        return url.path()
    }

    private func noise(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<(count / 8)).flatMap { _ in withUnsafeBytes(of: generator.next()) { Array($0) } }
    }

    @Test("a folder goes up and comes down as it was, over a good line and a bad one", arguments: [UInt64(0), 5, 15])
    func thereAndBack(faults: UInt64) throws {
        var breaks = 0
        for seed in UInt64(1)...5 {
            let name = "in-\(faults)-\(seed)"
            _ = try write(noise(3_000_000, seed), name + "/deep/model.safetensors")
            _ = try write(Array("{\"seed\": \(seed)}".utf8), name + "/config.json")
            _ = try write([], name + "/empty")
            let transport = FaultyTransport(store, seed: seed, faults: faults)
            let done = Mutex<[Int64]>([])
            var transfer = ArtifactTransfer(transport, watch: TransferWatch(progress: { value, _ in done.withLock { $0.append(value) } }))
            let manifest = try transfer.upload(directory: folder.path + "/" + name)
            #expect(store.hasAll(ofManifest: manifest.sha256), "seed \(seed)")
            let all = Int64(manifest.byteCount + manifest.json.count)
            #expect(done.withLock { $0 == $0.sorted() && $0.last == all }, "seed \(seed)")
            let out = folder.path + "/out-\(faults)-\(seed)"
            try transfer.download(manifest, into: out)
            #expect(try store.putDirectory(out).sha256 == manifest.sha256, "seed \(seed)")
            #expect(try transfer.bytes(manifest.sha256) == manifest.json)
            if faults == 0 { #expect(transport.bytesUp == Int(all), "seed \(seed)") }
            breaks += transport.breaks
        }
        #expect((breaks > 0) == (faults > 0))
    }

    @Test("what is there already is not sent") func nothingTwice() throws {
        let path = try write(noise(200_000, 9), "file")
        _ = try store.put(file: path)
        let transport = FaultyTransport(store, seed: 1, faults: 0)
        var transfer = ArtifactTransfer(transport)
        #expect(try transfer.upload(.file(path)).size == 200_000)
        #expect(transport.bytesUp == 0)
    }

    @Test("broken bytes of an earlier upload are not held against this one") func earlierBytes() throws {
        let bytes = noise(300_000, 10)
        let digest = SHA256Digest.hex(of: bytes)
        var server = ArtifactServer(store)
        _ = try server.perform(.put(ArtifactPut(sha256: digest, size: 300_000, offset: 0, data: [UInt8](repeating: 0, count: 1000))))
        var transfer = ArtifactTransfer(FaultyTransport(store, seed: 1, faults: 0))
        #expect(try transfer.upload(.bytes(bytes)).sha256 == digest)
        #expect(try store.bytes(digest) == bytes)
    }

    @Test("bytes that were changed on the way are noticed, and leave nothing") func corrupted() throws {
        let digest = try store.put(noise(100_000, 11))
        let transport = FaultyTransport(store, seed: 1, faults: 0)
        transport.corrupts = true
        var transfer = ArtifactTransfer(transport)
        #expect(throws: TransferError.self) { try transfer.download(digest, to: folder.path + "/out") }
        #expect(throws: TransferError.self) { try transfer.bytes(digest) }
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        #expect(names == ["store"])
    }

    @Test("a transfer that nobody wants ends, and one that is refused says why") func ends() throws {
        let bytes = noise(500_000, 12)
        var unwanted = ArtifactTransfer(FaultyTransport(store, seed: 1, faults: 0), watch: TransferWatch(isStopped: { true }))
        #expect(throws: TransferError.stopped) { try unwanted.upload(.bytes(bytes)) }
        let unknown = String(repeating: "0", count: 64)
        var transfer = ArtifactTransfer(FaultyTransport(store, seed: 1, faults: 0))
        #expect(throws: TransferError.refused(ContractError(.notFound, "there is no artifact of this digest", field: "sha256"))) {
            try transfer.download(unknown, to: folder.path + "/none")
        }
        let large = try store.put(noise(200_000, 13))
        #expect(throws: TransferError.self) { try transfer.bytes(large, limit: 199_999) }
        var full = ArtifactTransfer(FullStore(), refusalMilliseconds: 0)
        #expect(throws: TransferError.refused(FullStore.error)) { try full.upload(.bytes(bytes)) }
    }
}
