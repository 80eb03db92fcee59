/// torch.save's format before 1.6: five pickles (magic number, protocol, system, state dict, keys of the storages), then for
/// each key a count of elements and the elements.
enum LegacyTorchFile {
    /// The low 63 bits of 0x1950a86a20f9469cfc6c, the first pickle.
    private static let magicNumber = PickleValue.integer(0x28_6A20_F946_9CFC_6C & Int.max)

    static func tensors(_ file: MappedFile) throws(ModelFileError) -> [StoredTensor] {
        var position = 0
        guard file.bytes.first == 0x80, try pickle(file, &position).root == magicNumber, try pickle(file, &position).root == .integer(1001) else {
            throw ModelFileError(.malformed, path: file.path, "is no file that torch.save wrote")
        }
        try checkSystem(file, &position)
        let (root, unpickler) = try pickle(file, &position)
        let entries = try TorchFile.stateDict(root, unpickler: unpickler)
        let storages = try storages(file, &position, tensors: unpickler.tensors)
        return try entries.map { entry throws(ModelFileError) in
            guard let range = storages[entry.tensor.storage.key] else {
                throw ModelFileError(.malformed, path: file.path, tensor: entry.name, "its bytes are not in the file")
            }
            return try TorchFile.stored(entry.tensor, name: entry.name, storage: range, file: file)
        }
    }

    private static func pickle(_ file: MappedFile, _ position: inout Int) throws(ModelFileError) -> (root: PickleValue, unpickler: Unpickler) {
        var unpickler = Unpickler(ByteReader(file.bytes, from: position, path: file.path))
        let root = try unpickler.load()
        position = unpickler.end
        return (root, unpickler)
    }

    private static func checkSystem(_ file: MappedFile, _ position: inout Int) throws(ModelFileError) {
        let (root, unpickler) = try pickle(file, &position)
        guard case .container(let index) = root, case .dictionary(let items) = unpickler.arena[index],
            items.contains(where: { $0.key == .text("little_endian") && $0.value == .bool(true) })
        else { throw ModelFileError(.unsupported, path: file.path, "holds big-endian numbers, which are not read") }
    }

    /// Where the bytes of each storage lie.
    private static func storages(
        _ file: MappedFile, _ position: inout Int, tensors: [TorchTensor]
    ) throws(ModelFileError) -> [String: Range<Int>] {
        var known: [String: TorchStorage] = [:]
        for tensor in tensors { known[tensor.storage.key] = tensor.storage }
        let (root, unpickler) = try pickle(file, &position)
        var reader = ByteReader(file.bytes, from: position, path: file.path)
        var places: [String: Range<Int>] = [:]
        for item in try unpickler.items(root) {
            guard case .text(let key) = item, let storage = known[key] else { throw reader.malformed("lists a storage that no tensor uses") }
            let count = try reader.count()
            let (bytes, overflow) = count.multipliedReportingOverflow(by: storage.dtype.byteCount)
            guard count == storage.count, !overflow else { throw reader.malformed("has a storage of another size than its tensors expect") }
            places[key] = try reader.take(bytes)
        }
        return places
    }
}
