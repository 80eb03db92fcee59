import Encodings
import FoundationEssentials
import ModelFiles
import TestSupport
import Testing

/// Reads files that torch.save wrote (Tests/Reference/make_files.py).
@Suite("Reading pytorch_model.bin")
struct TorchFileTests {
    let temporary: TemporaryDirectory
    private static let files = Fixtures.tests + "/Fixtures/files/"

    init() throws {
        temporary = try TemporaryDirectory()
        try SafetensorsBytes.save(Array("{}".utf8), temporary.path + "/config.json")
    }

    private func bytes(_ name: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: Self.files + name))) }

    private func open(_ bytes: [UInt8]) throws -> TensorCollection {
        try SafetensorsBytes.save(bytes, temporary.path + "/pytorch_model.bin")
        return try ModelDirectory.open(temporary.path).tensors
    }

    @Test("views, types and shared storages are read from both of torch's formats", arguments: ["views.bin", "legacy.bin"])
    func formats(name: String) throws {
        let tensors = try open(bytes(name))
        let expected = try JSONValue.parse(bytes("expected.json"))
        let members = try #require(expected.objectValue)
        #expect(tensors.names == members.map(\.key).sorted())
        for (name, value) in members {
            let info = try #require(tensors.info(name))
            #expect(info.shape == value["shape"]?.arrayValue?.compactMap { $0.intValue.map { Int($0) } })
            let wanted = try #require(value["values"]?.arrayValue).map { Float(try #require($0.doubleValue)) }
            if [.float32, .float16, .bfloat16].contains(info.dtype) {
                #expect(try tensors.float32(name) == wanted, "\(name)")
            } else {
                #expect(throws: ModelFileError.self) { try tensors.float32(name) }
            }
        }
        #expect(tensors.info("double")?.dtype == .float64 && tensors.info("long")?.dtype == .int64 && tensors.info("bool")?.dtype == .bool)
    }

    @Test("a pickle that names a function outside the list is refused by name, and nothing runs")
    func evil() throws {
        let error = try #require(throws: ModelFileError.self) { try open(bytes("evil.bin")) }
        #expect(error.reason == .unsupported)
        #expect(error.description.contains("posix.system"))
        #expect(!FileManager.default.fileExists(atPath: "EXECUTED") && !FileManager.default.fileExists(atPath: temporary.path + "/EXECUTED"))
    }

    @Test("shards are joined by their index, and one that lacks what the index says is refused")
    func shards() throws {
        for name in ["shard-1.bin", "shard-2.bin"] { try SafetensorsBytes.save(bytes(name), temporary.path + "/" + name) }
        func index(_ map: String) throws -> TensorCollection {
            try SafetensorsBytes.save(Array(#"{"weight_map":\#(map)}"#.utf8), temporary.path + "/pytorch_model.bin.index.json")
            return try ModelDirectory.open(temporary.path).tensors
        }
        #expect(try index(#"{"a":"shard-1.bin","b":"shard-2.bin"}"#).names == ["a", "b"])
        #expect(throws: ModelFileError.self) { try index(#"{"a":"shard-1.bin","b":"shard-1.bin"}"#) }
        #expect(throws: ModelFileError.self) { try index(#"{"a":"shard-3.bin"}"#) }
    }

    /// A legacy file whose state dict is this pickle (without protocol and stop), with one storage `0` of `count` floats.
    private func legacy(_ stateDict: [UInt8], count: UInt64 = 4) -> [UInt8] {
        let magic: [UInt8] = [0x80, 2, 0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E]
        let system = [0x80, 2, UInt8(ascii: "}")] + text("little_endian") + [0x88, UInt8(ascii: "s"), 0x2E]
        let keys = [0x80, 2, UInt8(ascii: "]")] + text("0") + [UInt8(ascii: "a"), 0x2E]
        let storage = withUnsafeBytes(of: count.littleEndian) { [UInt8]($0) } + SafetensorsBytes.floats([1, 2, 3, 4])
        return magic + [0x80, 2, 0x4D, 0xE9, 3, 0x2E] + system + [0x80, 2] + stateDict + [0x2E] + keys + storage
    }

    private func text(_ string: String) -> [UInt8] { [0x8C, UInt8(string.utf8.count)] + Array(string.utf8) }
    private func global(_ module: String, _ name: String) -> [UInt8] { Array("c\(module)\n\(name)\n".utf8) }
    private func integer(_ value: Int32) -> [UInt8] { [UInt8(ascii: "J")] + withUnsafeBytes(of: value.littleEndian) { [UInt8]($0) } }
    private func tuple(_ items: [[UInt8]]) -> [UInt8] { [UInt8(ascii: "(")] + items.flatMap { $0 } + [UInt8(ascii: "t")] }

    /// {"a": tensor of a storage with 4 floats}
    private func tensor(offset: Int32, shape: [Int32], strides: [Int32], count: Int32 = 4) -> [UInt8] {
        let storage = tuple([text("storage"), global("torch", "FloatStorage"), text("0"), text("cpu"), integer(count)]) + [UInt8(ascii: "Q")]
        let call =
            global("torch._utils", "_rebuild_tensor") + tuple([storage, integer(offset), tuple(shape.map(integer)), tuple(strides.map(integer))])
        return [UInt8(ascii: "}")] + text("a") + call + [UInt8(ascii: "R"), UInt8(ascii: "s")]
    }

    @Test("a tensor by hand is read, and views that leave or multiply their storage are refused")
    func views() throws {
        #expect(try open(legacy(tensor(offset: 1, shape: [3], strides: [1]))).float32("a") == [2, 3, 4])
        #expect(try open(legacy(tensor(offset: 0, shape: [2, 2], strides: [1, 2]))).float32("a") == [1, 3, 2, 4])
        for (offset, shape, strides) in [
            (2, [3], [1]), (0, [2, 2], [3, 2]), (0, [1 << 30], [0]), (-1, [1], [1]), (0, [-1], [1]), (0, [2], [-1]), (5, [0], [1]), (0, [2, 2], [1]),
            (0, [1 << 30, 1 << 30, 1 << 30], [0, 0, 0]), (4, [1], [1]), (0, [2], [.max]),
        ] as [(Int32, [Int32], [Int32])] {
            #expect(throws: ModelFileError.self, "\(offset) \(shape) \(strides)") {
                try open(legacy(tensor(offset: offset, shape: shape, strides: strides)))
            }
        }
        #expect(throws: ModelFileError.self) { try open(legacy(tensor(offset: 0, shape: [2], strides: [1], count: .max), count: 1 << 31 - 1)) }
        #expect(throws: ModelFileError.self) { try open(legacy(tensor(offset: 0, shape: [2], strides: [1]), count: 1 << 63)) }
    }

    @Test("a pickle that copies or joins what it remembers, again and again, is refused")
    func amplification() throws {
        // A list of 100,000 pairs, remembered, made a dictionary of a thousand times.
        let pair: [UInt8] = text("a") + text("b") + [0x86]
        let list: [UInt8] =
            [UInt8(ascii: "]"), UInt8(ascii: "q"), 0, UInt8(ascii: "(")] + [[UInt8]](repeating: pair, count: 100_000).flatMap { $0 } + [
                UInt8(ascii: "e")
            ]
        let copy = global("collections", "OrderedDict") + [UInt8(ascii: "h"), 0, 0x85, UInt8(ascii: "R")]
        #expect(throws: ModelFileError.self) { try open(legacy(list + [[UInt8]](repeating: copy, count: 1000).flatMap { $0 })) }
        // A name of a megabyte, joined with itself a thousand times.
        let length = withUnsafeBytes(of: UInt32(1 << 20).littleEndian) { [UInt8]($0) }
        let name = [UInt8(ascii: "X")] + length + [UInt8](repeating: 0x61, count: 1 << 20) + [UInt8(ascii: "q"), 0]
        let joined = [UInt8(ascii: "h"), 0, UInt8(ascii: "h"), 0, 0x93]
        let error = #expect(throws: ModelFileError.self) { try open(legacy(name + [[UInt8]](repeating: joined, count: 1000).flatMap { $0 })) }
        #expect(error?.message.contains("a name has no end") == true)
    }

    @Test("a file that was saved under a name beyond ASCII is read")
    func foreignName() throws {
        // The archive's folder is the file's name; here a letter of it is two characters, three bytes in all.
        let (folder, name) = (Array("shard-1".utf8), Array("mo\u{308}del".utf8))
        var renamed = try bytes("shard-1.bin")
        try #require(name.count == folder.count && renamed.firstRange(of: folder) != nil)
        while let range = renamed.firstRange(of: folder) { renamed.replaceSubrange(range, with: name) }
        #expect(try open(renamed).float32("a") == [1, 1])
    }

    @Test("a pickle nested a million deep costs its length and no stack")
    func nesting() throws {
        let deep = [UInt8(ascii: "]")] + [UInt8](repeating: 0x85, count: 1_000_000)
        #expect(throws: ModelFileError.self) { try open(legacy(deep)) }
        #expect(throws: ModelFileError.self) { try open(legacy([UInt8](repeating: UInt8(ascii: "("), count: 1_000_000))) }
        // Doubling by reference: 2^64 items if anybody unfolded it.
        var doubling = [UInt8(ascii: "]")]
        for _ in 0..<64 { doubling += [UInt8(ascii: "2"), 0x86] }
        #expect(throws: ModelFileError.self) { try open(legacy(doubling)) }
    }
}
