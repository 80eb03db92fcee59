import Encodings
import ModelFiles
import TestSupport
import Testing

@Suite("Reading safetensors")
struct SafetensorsReaderTests {
    let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func open(_ bytes: [UInt8], config: String = #"{"model_type":"gpt2"}"#) throws -> TensorCollection {
        try ModelDirectory.open(SafetensorsBytes.directory(temporary.path + "/m", bytes, config: config)).tensors
    }

    private func refusal(_ bytes: [UInt8]) throws -> ModelFileError? {
        do {
            _ = try open(bytes)
            return nil
        } catch let error as ModelFileError {
            return error
        }
    }

    @Test("a good file gives its tensors")
    func good() throws {
        let tensors = try open(SafetensorsBytes.good)
        #expect(tensors.names == ["a", "b"])
        #expect(tensors.info("b") == TensorInfo(name: "b", dtype: .float32, shape: [1, 2], byteCount: 8))
        #expect(try tensors.float32("a") == [1, -2])
        #expect(try tensors.float32("b") == [0.5, 4])
        #expect(throws: ModelFileError.self) { try tensors.float32("c") }
    }

    @Test("a file cut off anywhere is refused, and the error names the file")
    func truncations() throws {
        let good = SafetensorsBytes.good
        for length in 0..<good.count {
            let error = try #require(try refusal(Array(good[..<length])), "length \(length) was accepted")
            #expect(error.reason == .malformed, "length \(length)")
            #expect(error.path.hasSuffix("model.safetensors"))
        }
        #expect(try refusal(good + [0])?.reason == .malformed)
    }

    @Test("any single byte of the header changed gives an error or a file that still agrees with itself")
    func mutations() throws {
        var generator = SeededGenerator(seed: 7)
        for position in 0..<(SafetensorsBytes.good.count - 16) {
            var bytes = SafetensorsBytes.good
            bytes[position] = UInt8.random(in: 0...255, using: &generator)
            guard let tensors = try? open(bytes) else { continue }
            for name in tensors.names { _ = try? tensors.float32(name) }
        }
    }

    @Test(
        "lying headers are refused",
        arguments: [
            (#"[]"#, ""),
            (#"{"a":3}"#, "a"),
            (#"{"a":{"shape":[4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F33","shape":[4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":7,"shape":[4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":4,"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[-4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":["4"],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[16,0]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[-16,0]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,15]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F16","shape":[4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,9223372036854775807]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[9223372036854775800,9223372036854775807]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,99999999999999999999]}}"#, ""),
            (#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}"#, "a"),
            (
                #"{"a":{"dtype":"F32","shape":[0,4294967296,4294967296],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#,
                "a"
            ),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}"#, "b"),
            (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#, "b"),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#, ""),
            (#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[4,16]}}"#, "a"),
            (#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#, ""),
            (#"{"__metadata__":5,"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, ""),
            (#"{"__metadata__":{"x":5},"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}"#, ""),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}"#, ""),
            (#"{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}} x"#, ""),
            ("", ""),
        ])
    func lies(header: String, tensor: String) throws {
        let error = try #require(try refusal(SafetensorsBytes.file(header: header, data: SafetensorsBytes.floats([1, 2, 3, 4]))))
        if !tensor.isEmpty { #expect(error.tensor == tensor) }
        #expect(error.description.contains("model.safetensors"))
    }

    @Test(
        "a header length beyond the file or the limit is refused without reading it",
        arguments: [UInt64.max, 1 << 63, 1 << 62, 100_000_001, 100_000_000, 4096])
    func headerLength(claimed: UInt64) throws {
        let bytes = SafetensorsBytes.file(header: "{}", data: [], claimedLength: claimed)
        #expect(try refusal(bytes)?.reason == .malformed)
    }

    @Test("trailing spaces in the header, empty tensors and scalars are fine")
    func harmless() throws {
        let header = #"{"e":{"dtype":"F32","shape":[0,3],"data_offsets":[0,0]},"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}   "#
        let tensors = try open(SafetensorsBytes.file(header: header, data: SafetensorsBytes.floats([2.5])))
        #expect(try tensors.float32("e") == [])
        #expect(try tensors.float32("s") == [2.5])
    }

    @Test("halves and bfloat16 widen exactly")
    func narrowTypes() throws {
        let halves: [UInt16] = [0x3C00, 0xC000, 0x0001, 0x8000, 0x7C00, 0x03FF]
        let brains: [UInt16] = [0x3F80, 0xC000, 0x0001]
        let header =
            #"{"h":{"dtype":"F16","shape":[6],"data_offsets":[0,12]},"b":{"dtype":"BF16","shape":[3],"data_offsets":[12,18]},"i":{"dtype":"I8","shape":[1],"data_offsets":[18,19]}}"#
        let data = halves.withUnsafeBytes { [UInt8]($0) } + brains.withUnsafeBytes { [UInt8]($0) } + [3]
        let tensors = try open(SafetensorsBytes.file(header: header, data: data))
        #expect(try tensors.float32("h") == [1, -2, 0x1p-24, -0.0, .infinity, 1023 * 0x1p-24])
        #expect(try tensors.float32("b") == [1, -2, Float(bitPattern: 0x10000)])
        #expect(throws: ModelFileError.self) { try tensors.float32("i") }
    }

    @Test("wanted names are found with and without their first part, and nothing else comes along")
    func names() throws {
        let names = ["h.0.attn.bias", "h.0.attn.masked_bias", "h.0.attn.c_attn.bias", "transformer.wte.weight", "lm_head.weight", "weight"]
        var members: [String] = []
        for (index, name) in names.enumerated() {
            members.append(#""\#(name)":{"dtype":"F32","shape":[1],"data_offsets":[\#(4 * index),\#(4 * index + 4)]}"#)
        }
        let bytes = SafetensorsBytes.file(header: "{" + members.joined(separator: ",") + "}", data: SafetensorsBytes.floats([1, 2, 3, 4, 5, 6]))
        let stored = try open(bytes)
        #expect(stored.names == names.sorted())
        let tied = try stored.selecting(["transformer.wte.weight", "transformer.h.0.attn.c_attn.bias", "transformer.none.weight"])
        #expect(tied.names == ["transformer.h.0.attn.c_attn.bias", "transformer.wte.weight"])
        #expect(try tied.float32("transformer.h.0.attn.c_attn.bias") == [3])
        #expect(try stored.selecting(["lm_head.weight"]).float32("lm_head.weight") == [5])
        #expect(try stored.selecting(["embed_out.weight"]).names == [])
    }

    @Test("a tensor that stands there under both names is refused")
    func bothNames() throws {
        let header =
            #"{"wte.weight":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"transformer.wte.weight":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}"#
        let stored = try open(SafetensorsBytes.file(header: header, data: SafetensorsBytes.floats([1, 2, 3, 4])))
        #expect(throws: ModelFileError.self) { try stored.selecting(["transformer.wte.weight"]) }
    }
}
