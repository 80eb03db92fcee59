import Encodings

/// One safetensors file, mapped and checked: a little-endian header length, a JSON header, the tensors' bytes.
///
/// Everything the header says is checked against the file before a single tensor is touched, so a truncated or lying
/// file is an error that names the file and the tensor, never a crash or an allocation of what the header claims.
/// Source: https://github.com/huggingface/safetensors (format), whose own limits are kept (header of at most 100 MB).
struct SafetensorsFile: Sendable {
    static let maximumHeaderBytes = 100_000_000

    struct Entry: Sendable {
        let name: String
        let dtype: ElementType
        let shape: [Int]
        /// Where its bytes lie, counted from the file's first byte.
        let range: Range<Int>
    }

    let file: MappedFile
    let metadata: [String: String]
    /// In the order of their bytes.
    let entries: [Entry]

    init(path: String) throws(ModelFileError) {
        file = try MappedFile(path: path)
        let headerEnd = try SafetensorsFile.headerEnd(file)
        let header: JSONValue
        do {
            header = try JSONValue.parse(UnsafeRawBufferPointer(rebasing: file.bytes[8..<headerEnd]))
        } catch {
            throw ModelFileError(.malformed, path: path, "its header is no JSON: \(error)")
        }
        guard case .object(let members) = header else { throw ModelFileError(.malformed, path: path, "its header is no JSON object") }
        var metadata: [String: String] = [:]
        var entries: [Entry] = []
        for (name, value) in members {
            if name == "__metadata__" {
                metadata = try SafetensorsFile.metadata(value, path: path)
            } else {
                entries.append(try SafetensorsFile.entry(name, value, headerEnd: headerEnd, file: file))
            }
        }
        entries.sort { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        try SafetensorsFile.checkTiling(entries, from: headerEnd, to: file.bytes.count, path: path)
        self.metadata = metadata
        self.entries = entries
    }

    /// Every tensor under the name that it has here.
    var tensors: [StoredTensor] {
        entries.map { entry in
            StoredTensor(
                info: TensorInfo(name: entry.name, dtype: entry.dtype, shape: entry.shape, byteCount: entry.range.count),
                bytes: .mapped(file, entry.range))
        }
    }

    private static func headerEnd(_ file: MappedFile) throws(ModelFileError) -> Int {
        guard file.bytes.count >= 8 else {
            throw ModelFileError(.malformed, path: file.path, "is \(file.bytes.count) bytes long, too short for a safetensors file: truncated?")
        }
        let length = UInt64(littleEndian: file.bytes.loadUnaligned(as: UInt64.self))
        guard length <= UInt64(maximumHeaderBytes) else {
            throw ModelFileError(.malformed, path: file.path, "claims a header of \(length) bytes; at most \(maximumHeaderBytes) are allowed")
        }
        guard Int(length) <= file.bytes.count - 8 else {
            throw ModelFileError(
                .malformed, path: file.path, "claims a header of \(length) bytes but is only \(file.bytes.count) bytes long: truncated?")
        }
        return 8 + Int(length)
    }

    private static func metadata(_ value: JSONValue, path: String) throws(ModelFileError) -> [String: String] {
        guard case .object(let members) = value else { throw ModelFileError(.malformed, path: path, "__metadata__ is no object") }
        var result: [String: String] = [:]
        for (key, member) in members {
            guard case .string(let text) = member else {
                throw ModelFileError(.malformed, path: path, "__metadata__ holds something that is no string")
            }
            result[key] = text
        }
        return result
    }

    private static func entry(_ name: String, _ value: JSONValue, headerEnd: Int, file: MappedFile) throws(ModelFileError) -> Entry {
        func malformed(_ message: String) -> ModelFileError { ModelFileError(.malformed, path: file.path, tensor: name, message) }
        guard case .object(let members) = value else { throw malformed("its description is no object") }
        guard case .string(let typeName) = members["dtype"] else { throw malformed("has no dtype") }
        guard let dtype = ElementType(rawValue: typeName) else {
            throw ModelFileError(.unsupported, path: file.path, tensor: name, "its dtype is \(typeName), which is not known here")
        }
        guard let shape = nonNegativeIntegers(members["shape"]) else { throw malformed("its shape is no list of non-negative integers") }
        guard let offsets = nonNegativeIntegers(members["data_offsets"]), offsets.count == 2 else {
            throw malformed("its data_offsets are no pair of non-negative integers")
        }
        let available = file.bytes.count - headerEnd
        guard offsets[0] <= offsets[1], offsets[1] <= available else {
            throw malformed("its bytes \(offsets[0])..<\(offsets[1]) lie outside the file's \(available) bytes of data: truncated?")
        }
        guard let size = byteCount(shape: shape, dtype: dtype) else { throw malformed("its shape \(shape) is too large to exist") }
        guard size == offsets[1] - offsets[0] else {
            throw malformed("its shape \(shape) of \(typeName) takes \(size) bytes, but its data_offsets span \(offsets[1] - offsets[0])")
        }
        return Entry(name: name, dtype: dtype, shape: shape, range: headerEnd + offsets[0]..<headerEnd + offsets[1])
    }

    /// The product of the shape and the element's size, or nil where it does not fit an `Int`.
    ///
    /// A zero anywhere makes the tensor empty, but the other dimensions must multiply without overflow all the same.
    static func byteCount(shape: [Int], dtype: ElementType) -> Int? {
        var product = dtype.byteCount
        for size in shape where size != 0 {
            let (value, overflow) = product.multipliedReportingOverflow(by: size)
            if overflow { return nil }
            product = value
        }
        return shape.contains(0) ? 0 : product
    }

    private static func nonNegativeIntegers(_ value: JSONValue?) -> [Int]? {
        guard case .array(let elements) = value else { return nil }
        var result: [Int] = []
        for element in elements {
            guard case .integer(let number) = element, number >= 0 else { return nil }
            result.append(Int(number))
        }
        return result
    }

    /// No overlap, no hole, nothing behind the last tensor.
    private static func checkTiling(_ entries: [Entry], from start: Int, to end: Int, path: String) throws(ModelFileError) {
        var position = start
        for entry in entries {
            guard entry.range.lowerBound >= position else {
                throw ModelFileError(.malformed, path: path, tensor: entry.name, "its bytes overlap another tensor's")
            }
            guard entry.range.lowerBound == position else {
                throw ModelFileError(
                    .malformed, path: path, tensor: entry.name, "\(entry.range.lowerBound - position) bytes before it belong to no tensor")
            }
            position = entry.range.upperBound
        }
        guard position == end else { throw ModelFileError(.malformed, path: path, "\(end - position) bytes at its end belong to no tensor") }
    }
}
