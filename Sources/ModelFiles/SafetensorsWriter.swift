import DurableFiles
import Encodings

/// Writes safetensors files that transformers loads: sorted names, aligned data, `{"format":"pt"}`.
package enum SafetensorsWriter {
    /// The metadata that transformers insists on.
    package static let torchMetadata = ["format": "pt"]

    /// One tensor to write: its bytes as they shall stand in the file.
    package struct Tensor {
        package let info: TensorInfo
        private let source: Source

        private enum Source {
            case memory(UnsafeRawBufferPointer)
            case collection(TensorCollection, name: String)
        }

        /// - Parameters:
        ///   - info: its `byteCount` equals `bytes.count`.
        ///   - bytes: little-endian, row-major; valid until the writing call returns.
        package init(info: TensorInfo, bytes: UnsafeRawBufferPointer) {
            self.info = info
            source = .memory(bytes)
        }

        /// A tensor as it is in other files.
        fileprivate init(_ info: TensorInfo, of tensors: TensorCollection) {
            self.info = info
            source = .collection(tensors, name: info.name)
        }

        fileprivate func withBytes(_ body: (UnsafeRawBufferPointer) throws(ModelFileError) -> Void) throws(ModelFileError) {
            switch source {
            case .memory(let bytes): try body(bytes)
            case .collection(let tensors, let name): try tensors.withBytes(name, body)
            }
        }

        fileprivate var isWhole: Bool {
            guard SafetensorsFile.byteCount(shape: info.shape, dtype: info.dtype) == info.byteCount else { return false }
            if case .memory(let bytes) = source { return bytes.count == info.byteCount }
            return true
        }

        /// A tensor of fp32.
        package init(name: String, shape: [Int], data: UnsafeBufferPointer<Float>) {
            self.init(info: TensorInfo(name: name, dtype: .float32, shape: shape, byteCount: 4 * data.count), bytes: UnsafeRawBufferPointer(data))
        }
    }

    /// Everything that a collection holds, as it is read there.
    package static func tensors(of collection: TensorCollection) -> [Tensor] {
        collection.names.compactMap { collection.info($0) }.map { Tensor($0, of: collection) }
    }

    /// Writes fp32 tensors to `path`, atomically.
    /// - Throws: where two names are equal, a shape does not fit its data, or the system refuses.
    package static func write(
        _ tensors: [(name: String, shape: [Int], data: UnsafeBufferPointer<Float>)], metadata: [String: String] = torchMetadata, to path: String
    ) throws(ModelFileError) {
        try write(tensors.map { Tensor(name: $0.name, shape: $0.shape, data: $0.data) }, metadata: metadata, to: path)
    }

    /// Writes tensors of any type to `path`, atomically.
    package static func write(_ tensors: [Tensor], metadata: [String: String] = torchMetadata, to path: String) throws(ModelFileError) {
        let sorted = tensors.sorted { TensorNames.precedes($0.info.name, $1.info.name) }
        let header = try header(sorted, metadata: metadata, path: path)
        var file = try begin(path, header)
        for tensor in sorted {
            try tensor.withBytes { (bytes: UnsafeRawBufferPointer) throws(ModelFileError) in
                do throws(FileError) { try file.write(bytes) } catch { throw ModelFileError(error) }
            }
        }
        do throws(FileError) { try file.finish() } catch { throw ModelFileError(error) }
    }

    private static func begin(_ path: String, _ header: [UInt8]) throws(ModelFileError) -> DurableFile {
        do throws(FileError) {
            var file = try DurableFile(path: path)
            try file.write(header)
            return file
        } catch { throw ModelFileError(error) }
    }

    /// The length word and the JSON, padded with spaces so that the data begins at a multiple of 64.
    private static func header(_ tensors: [Tensor], metadata: [String: String], path: String) throws(ModelFileError) -> [UInt8] {
        var object = JSONObject()
        if !metadata.isEmpty {
            var pairs = JSONObject()
            for key in metadata.keys.sorted(by: TensorNames.precedes) { pairs[key] = .string(metadata[key] ?? "") }
            object["__metadata__"] = .object(pairs)
        }
        var offset = 0
        for tensor in tensors {
            let info = tensor.info
            guard tensor.isWhole else {
                throw ModelFileError(.malformed, path: path, tensor: info.name, "its shape \(info.shape) does not fit its \(info.byteCount) bytes")
            }
            guard object[info.name] == nil else { throw ModelFileError(.malformed, path: path, tensor: info.name, "is to be written twice") }
            var entry = JSONObject()
            entry["dtype"] = .string(info.dtype.rawValue)
            entry["shape"] = .array(info.shape.map { .integer(Int64($0)) })
            entry["data_offsets"] = .array([.integer(Int64(offset)), .integer(Int64(offset + info.byteCount))])
            object[info.name] = .object(entry)
            offset += info.byteCount
        }
        var json = JSONValue.object(object).serialised
        while (8 + json.count) % 64 != 0 { json.append(UInt8(ascii: " ")) }
        return withUnsafeBytes(of: UInt64(json.count).littleEndian) { [UInt8]($0) } + json
    }
}
