import FoundationEssentials
import ModelFiles
import TestSupport
import Testing

/// Weights that nobody vouches for (`FUZZ_SECONDS` runs each for minutes: TestSupport/Fuzz.swift).
@Suite("Damaged weights")
struct FuzzTests {
    let temporary: TemporaryDirectory

    init() throws {
        temporary = try TemporaryDirectory()
        try save(Array(#"{"model_type":"gpt2"}"#.utf8), "config.json")
    }

    private func save(_ bytes: [UInt8], _ name: String) throws { try SafetensorsBytes.save(bytes, temporary.path + "/" + name) }

    private static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    /// Whether the folder is taken, every tensor of it read; a refusal must name a file of the folder.
    private func accepts() -> Bool {
        do throws(ModelFileError) {
            let tensors = try ModelDirectory.open(temporary.path).tensors
            for name in tensors.names {
                // The only limit that a reader owes: no more elements than the file has bytes for.
                guard let info = tensors.info(name), info.count < 1 << 24 else { continue }
                do throws(ModelFileError) { _ = try tensors.float32(name) } catch { expectNamed(error) }
            }
            return true
        } catch {
            expectNamed(error)
            return false
        }
    }

    private func expectNamed(_ error: ModelFileError) {
        #expect(error.path.hasPrefix(temporary.path) && error.description.hasPrefix(error.path), "\(error)")
    }

    @Test("safetensors: damaged files are refused or read, within bounds")
    func safetensors() throws {
        let large = SafetensorsBytes.file(
            header:
                #"{"__metadata__":{"format":"pt"},"h.0.w":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"b":{"dtype":"BF16","shape":[2],"data_offsets":[12,16]},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[16,16]}}"#,
            data: [UInt8](repeating: 0x3C, count: 16))
        let report = try Fuzz(
            "safetensors", seed: 31, rounds: 3000,
            words: [
                "\"dtype\":\"F32\"", "\"shape\":[-1,-1]", "\"data_offsets\":[0,0]", "\"data_offsets\":[16,0]", "__metadata__", "{", "}", "[", "]",
                ",",
            ]
        ).run([SafetensorsBytes.good, large]) { bytes in
            try save(bytes, "model.safetensors")
            return accepts()
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("pytorch_model.bin: damaged zips and pickles are refused or read, within bounds")
    func torch() throws {
        let files = Fixtures.tests + "/Fixtures/files/"
        let report = try Fuzz(
            "torch", seed: 32, rounds: 3000,
            words: [
                "ctorch._utils\n_rebuild_tensor_v2\n", "ctorch\nFloatStorage\n", "ccollections\nOrderedDict\n", "(", "t", "R", "Q", "}", "u",
                "\u{1}h\u{0}", "2",
            ]
        ).run(["views.bin", "legacy.bin", "shard-1.bin", "evil.bin"].map { try Self.bytes(files + $0) }) { bytes in
            try save(bytes, "pytorch_model.bin")
            return accepts()
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
        #expect(!FileManager.default.fileExists(atPath: "EXECUTED"))
    }

    @Test("shard indices: damaged ones are refused or read, within bounds")
    func shards() throws {
        try save(SafetensorsBytes.good, "s-1")
        let index = #"{"metadata":{"total_size":16},"weight_map":{"a":"s-1","b":"s-1"}}"#
        let report = try Fuzz("shards", seed: 33, rounds: 1500, words: ["\"../s-1\"", "\"/dev/zero\"", "\"weight_map\":", "\"s-1\"", "\\u0000"])
            .run([Array(index.utf8)]) { bytes in
                try save(bytes, "model.safetensors.index.json")
                return accepts()
            }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("TensorFlow's index: damaged entries under right checksums are refused or read, within bounds")
    func tensorFlow() throws {
        let source = Fixtures.reference + "/gpt2-tensorflow/"
        for name in try FileManager.default.contentsOfDirectory(atPath: source) { try save(Self.bytes(source + name), name) }
        try FileManager.default.removeItem(atPath: temporary.path + "/config.json")
        let index = try Self.bytes(source + "model.ckpt.index")
        let blocks = SortedTableBytes(index)
        let report = try Fuzz("tensorflow", seed: 34, rounds: 1500, words: ["model/wte", "model/h0/attn/c_attn/w"]).run([blocks.entries]) { bytes in
            try save(blocks.with(entries: bytes), "model.ckpt.index")
            return accepts()
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("TensorFlow's small files: damaged ones are refused or read, within bounds", arguments: ["hparams.json", "checkpoint"])
    func tensorFlow(file: String) throws {
        let source = Fixtures.reference + "/gpt2-tensorflow/"
        for name in try FileManager.default.contentsOfDirectory(atPath: source) { try save(Self.bytes(source + name), name) }
        try FileManager.default.removeItem(atPath: temporary.path + "/config.json")
        // Of two checkpoints the file must say which.
        try save([], "other.ckpt.index")
        let report = try Fuzz(
            "tensorflow-" + file, seed: 36, rounds: 60,
            words: ["\"n_layer\":", "\"n_embd\": 9223372036854775807", "model_checkpoint_path: \"", "../", "/dev/zero", "\0", "\"n_vocab\":"]
        ).run([try Self.bytes(source + file)]) { bytes in
            try save(bytes, file)
            return accepts()
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }

    @Test("adapter files: damaged configs are refused or read, within bounds")
    func adapter() throws {
        let source = Fixtures.tests + "/Fixtures/models/gpt2-lora/"
        for name in ["config.json", "model.safetensors"] { try save(Self.bytes(Fixtures.reference + "/gpt2/" + name), name) }
        try save(Self.bytes(source + "adapter_model.safetensors"), "adapter_model.safetensors")
        let report = try Fuzz("adapter", seed: 35, rounds: 600, words: ["\"r\":", "\"lora_alpha\":1e308", "\"fan_in_fan_out\":true"])
            .run([Self.bytes(source + "adapter_config.json")]) { bytes in
                try save(bytes, "adapter_config.json")
                do throws(ModelFileError) { _ = try ModelDirectory.open(temporary.path) } catch {
                    #expect(!error.description.isEmpty)
                    return false
                }
                return true
            }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }
}

/// The index of a TensorFlow bundle taken apart, so that its entries can be changed and the checksums made right again.
struct SortedTableBytes {
    /// The one block of entries, without its type and checksum.
    let entries: [UInt8]

    /// - Parameter table: with one block of entries at its beginning, as small bundles have.
    init(_ table: [UInt8]) {
        // The footer: handles of the meta index and the index; the index's first value is the handle of the block of entries.
        var place = table.count - 48
        _ = (Self.varint(table, &place), Self.varint(table, &place))
        var index = Int(Self.varint(table, &place))
        _ = Self.varint(table, &index)
        let keyLength = Int(Self.varint(table, &index))
        _ = Self.varint(table, &index)
        index += keyLength
        let (offset, size) = (Int(Self.varint(table, &index)), Int(Self.varint(table, &index)))
        entries = Array(table[offset..<offset + size])
    }

    /// A table of one block with these entries.
    func with(entries: [UInt8]) -> [UInt8] {
        let data = Self.block(entries)
        let meta = Self.block([0, 0, 0, 0, 1, 0, 0, 0])
        let handle = Self.encoded(0) + Self.encoded(UInt64(entries.count))
        let index = [0, 1, UInt8(handle.count), 0x7A] + handle + [0, 0, 0, 0, 1, 0, 0, 0]
        var footer = Self.encoded(UInt64(data.count)) + Self.encoded(8)
        footer += Self.encoded(UInt64(data.count + meta.count)) + Self.encoded(UInt64(index.count))
        footer += [UInt8](repeating: 0, count: 40 - footer.count) + [0x57, 0xFB, 0x80, 0x8B, 0x24, 0x75, 0x47, 0xDB]
        return data + meta + Self.block(index) + footer
    }

    private static func block(_ bytes: [UInt8]) -> [UInt8] {
        let whole = bytes + [0]
        let crc = checksum(whole)
        let masked = (crc >> 15 | crc << 17) &+ 0xA282_EAD8
        return whole + (0..<4).map { UInt8(truncatingIfNeeded: masked >> UInt32(8 * $0)) }
    }

    /// CRC-32C bit by bit: the definition.
    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var crc = UInt32.max
        for byte in bytes {
            crc ^= UInt32(byte)
            for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0x82F6_3B78 : crc >> 1 }
        }
        return ~crc
    }

    static func encoded(_ value: UInt64) -> [UInt8] {
        var (rest, bytes) = (value, [UInt8]())
        while rest >= 0x80 {
            bytes.append(UInt8(rest & 0x7F) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    private static func varint(_ bytes: [UInt8], _ place: inout Int) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            defer { place += 1 }
            value |= UInt64(bytes[place] & 0x7F) << shift
            if bytes[place] < 0x80 { return value }
        }
        return value
    }
}
