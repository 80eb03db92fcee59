/// A TensorFlow checkpoint (the "V2" bundle): `PREFIX.index`, a sorted table of variables, and `PREFIX.data-…` with their bytes.
///
/// Source: tensorflow/core/protobuf/tensor_bundle.proto; its messages are read field by field.
struct TensorFlowBundle {
    /// One variable. Bytes lie in shard `shard` of the data files.
    struct Variable {
        let name: String
        var type = 0
        var shape: [Int] = []
        var shard = 0
        var offset = 0
        var size = 0
        var checksum: UInt32 = 0
    }

    private let prefix: String
    private let variables: [Variable]
    private let shards: Int

    /// - Parameter prefix: the path up to `.index`.
    init(prefix: String) throws(ModelFileError) {
        self.prefix = prefix
        let file = try MappedFile(path: prefix + ".index")
        var variables: [Variable] = []
        var shards = 1
        for (key, range) in try SortedTable.entries(file) {
            let message = ProtobufReader(file, range)
            if key.isEmpty {
                shards = try TensorFlowBundle.shardCount(message)
            } else {
                guard let name = String(validating: key, as: UTF8.self) else { throw message.malformed("has a variable whose name is no UTF-8") }
                variables.append(try TensorFlowBundle.variable(name, message))
            }
        }
        self.variables = variables
        self.shards = shards
    }

    /// BundleHeaderProto: num_shards = 1, endianness = 2.
    private static func shardCount(_ message: ProtobufReader) throws(ModelFileError) -> Int {
        var shards = 0
        for field in try message.fields() {
            switch (field.number, field.value) {
            case (1, .number(let count)): shards = Int(clamping: count)
            case (2, .number(let order)) where order != 0:
                throw ModelFileError(.unsupported, path: message.path, "holds big-endian numbers, which are not read")
            default: continue
            }
        }
        guard (1...99_999).contains(shards) else { throw message.malformed("claims \(shards) data files") }
        return shards
    }

    /// BundleEntryProto: dtype = 1, shape = 2, shard_id = 3, offset = 4, size = 5, crc32c = 6, slices = 7.
    private static func variable(_ name: String, _ message: ProtobufReader) throws(ModelFileError) -> Variable {
        var variable = Variable(name: name)
        for field in try message.fields() {
            switch (field.number, field.value) {
            case (1, .number(let type)): variable.type = Int(clamping: type)
            case (2, .bytes(let shape)): variable.shape = try self.shape(shape)
            case (3, .number(let shard)): variable.shard = Int(clamping: shard)
            case (4, .number(let offset)): variable.offset = Int(clamping: offset)
            case (5, .number(let size)): variable.size = Int(clamping: size)
            case (6, .fixed32(let checksum)): variable.checksum = checksum
            case (7, _):
                throw ModelFileError(.unsupported, path: message.path, tensor: name, "is cut into slices, which GPT-2's checkpoints never are")
            default: continue
            }
        }
        return variable
    }

    /// TensorShapeProto: dim = 2, each with size = 1.
    private static func shape(_ message: ProtobufReader) throws(ModelFileError) -> [Int] {
        var sizes: [Int] = []
        for field in try message.fields() {
            guard field.number == 2, case .bytes(let dimension) = field.value else { continue }
            var size = 0
            for part in try dimension.fields() {
                if part.number == 1, case .number(let value) = part.value { size = Int(clamping: value) }
            }
            guard size >= 0, sizes.count < 16 else { throw message.malformed("has a variable of a shape that cannot be") }
            sizes.append(size)
        }
        return sizes
    }

    /// The variables that `rename` gives a name and a shape, their bytes checked against their checksums.
    func tensors(
        _ rename: (_ name: String, _ shape: [Int]) -> (name: String, shape: [Int])?
    ) throws(ModelFileError) -> [StoredTensor] {
        var files: [Int: MappedFile] = [:]
        var tensors: [StoredTensor] = []
        for variable in variables {
            guard let (name, shape) = rename(variable.name, variable.shape) else { continue }
            guard (0..<shards).contains(variable.shard) else { throw malformed(variable, "is in a data file that is not there") }
            let file: MappedFile
            if let open = files[variable.shard] {
                file = open
            } else {
                file = try MappedFile(path: dataPath(variable.shard))
                files[variable.shard] = file
            }
            tensors.append(try stored(variable, name: name, shape: shape, file: file))
        }
        return tensors
    }

    private func dataPath(_ shard: Int) -> String {
        func digits(_ number: Int) -> String { String(repeating: "0", count: 5 - "\(number)".count) + "\(number)" }
        return "\(prefix).data-\(digits(shard))-of-\(digits(shards))"
    }

    private func stored(_ variable: Variable, name: String, shape: [Int], file: MappedFile) throws(ModelFileError) -> StoredTensor {
        let types: [Int: ElementType] = [1: .float32, 2: .float64, 14: .bfloat16, 19: .float16]
        guard let dtype = types[variable.type] else {
            throw ModelFileError(
                .unsupported, path: prefix + ".index", tensor: variable.name, "has the TensorFlow type \(variable.type), which is no weight's")
        }
        guard let size = SafetensorsFile.byteCount(shape: variable.shape, dtype: dtype), size == variable.size else {
            throw malformed(variable, "its shape \(variable.shape) does not fit its \(variable.size) bytes")
        }
        guard variable.offset >= 0, variable.offset <= file.bytes.count, size <= file.bytes.count - variable.offset else {
            throw malformed(variable, "its bytes lie behind the end of \(file.path): truncated?")
        }
        let range = variable.offset..<variable.offset + size
        guard CRC32C.masked(UnsafeRawBufferPointer(rebasing: file.bytes[range])) == variable.checksum else {
            throw malformed(variable, "its checksum is wrong: \(file.path) is damaged")
        }
        return StoredTensor(info: TensorInfo(name: name, dtype: dtype, shape: shape, byteCount: size), bytes: .mapped(file, range))
    }

    private func malformed(_ variable: Variable, _ message: String) -> ModelFileError {
        ModelFileError(.malformed, path: prefix + ".index", tensor: variable.name, message)
    }
}
