import FoundationEssentials
import Glibc

/// Builds safetensors files by hand, also wrong ones.
enum SafetensorsBytes {
    static func file(header: String, data: [UInt8], claimedLength: UInt64? = nil) -> [UInt8] {
        let length = claimedLength ?? UInt64(header.utf8.count)
        return withUnsafeBytes(of: length.littleEndian) { [UInt8]($0) } + Array(header.utf8) + data
    }

    /// Two small tensors, `a` [2] and `b` [1, 2] of F32.
    static var good: [UInt8] {
        file(
            header: #"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1,2],"data_offsets":[8,16]}}"#,
            data: floats([1, -2, 0.5, 4]))
    }

    static func floats(_ values: [Float]) -> [UInt8] { values.withUnsafeBytes { [UInt8]($0) } }

    static func save(_ bytes: [UInt8], _ path: String) throws { try Data(bytes).write(to: URL(filePath: path)) }

    /// A directory with this file as `model.safetensors` and a config.
    static func directory(_ path: String, _ bytes: [UInt8], config: String = #"{"model_type":"gpt2"}"#) throws -> String {
        mkdir(path, 0o755)
        try save(bytes, path + "/model.safetensors")
        try save(Array(config.utf8), path + "/config.json")
        return path
    }
}
