/// `pytorch_model.bin`: a state dict as torch.save writes it, since 1.6 as a zip file, before that as a row of pickles.
enum TorchFile {
    /// Every tensor of the file's state dict under its name there. Entries that are no tensors are passed over.
    static func tensors(_ path: String) throws(ModelFileError) -> [StoredTensor] {
        let file = try MappedFile(path: path)
        return ZipArchive.isZip(file) ? try zipped(file) : try LegacyTorchFile.tensors(file)
    }

    private static func zipped(_ file: MappedFile) throws(ModelFileError) -> [StoredTensor] {
        let archive = try ZipArchive(file)
        // `NAME/data.pkl` and `NAME/data/KEY`, NAME being whatever the file was called when it was saved.
        guard let pickle = archive.entries.first(where: { $0.name.hasSuffix("/data.pkl") }) else {
            throw ModelFileError(.malformed, path: file.path, "holds no data.pkl, so torch.save did not write it")
        }
        let prefix = String(pickle.name.dropLast("data.pkl".count))
        if let order = archive.entries.first(where: { $0.name == prefix + "byteorder" }), !file.bytes[order.range].elementsEqual("little".utf8) {
            throw ModelFileError(.unsupported, path: file.path, "holds big-endian numbers, which are not read")
        }
        var storages: [String: Range<Int>] = [:]
        let folder = (prefix + "data/").utf8
        // By bytes: what Swift takes for one character may be several here and in the pickle.
        for entry in archive.entries where entry.name.utf8.starts(with: folder) {
            storages[String(decoding: entry.name.utf8.dropFirst(folder.count), as: UTF8.self)] = entry.range
        }
        var unpickler = Unpickler(
            ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[..<pickle.range.upperBound]), from: pickle.range.lowerBound, path: file.path))
        let root = try unpickler.load()
        return try stateDict(root, unpickler: unpickler).map { entry throws(ModelFileError) in
            guard let range = storages[entry.tensor.storage.key] else {
                throw ModelFileError(.malformed, path: file.path, tensor: entry.name, "its bytes are not in the file")
            }
            return try stored(entry.tensor, name: entry.name, storage: range, file: file)
        }
    }

    /// The tensors of a dictionary.
    static func stateDict(_ root: PickleValue, unpickler: Unpickler) throws(ModelFileError) -> [(name: String, tensor: TorchTensor)] {
        guard case .container(let index) = root, case .dictionary(let items) = unpickler.arena[index] else {
            throw unpickler.malformed("its outermost value is no dictionary of tensors")
        }
        return items.compactMap { key, value in
            guard case .text(let name) = key, case .container(let index) = value, case .tensor(let tensor) = unpickler.arena[index] else {
                return nil
            }
            return (name, tensor)
        }
    }

    /// A view of a storage's bytes, once it is known where those lie.
    static func stored(_ tensor: TorchTensor, name: String, storage: Range<Int>, file: MappedFile) throws(ModelFileError) -> StoredTensor {
        let size = tensor.storage.dtype.byteCount
        let (needed, overflow) = tensor.storage.count.multipliedReportingOverflow(by: size)
        guard !overflow, needed <= storage.count else {
            throw ModelFileError(
                .malformed, path: file.path, tensor: name, "its storage has \(storage.count) bytes, fewer than it claims: truncated?")
        }
        guard let byteCount = SafetensorsFile.byteCount(shape: tensor.shape, dtype: tensor.storage.dtype) else {
            throw ModelFileError(.malformed, path: file.path, tensor: name, "its shape \(tensor.shape) is too large to exist")
        }
        let base = storage.lowerBound + tensor.offset * size
        let info = TensorInfo(name: name, dtype: tensor.storage.dtype, shape: tensor.shape, byteCount: byteCount)
        let bytes: TensorBytes = tensor.isContiguous ? .mapped(file, base..<base + byteCount) : .strided(file, base: base, strides: tensor.strides)
        return StoredTensor(info: info, bytes: bytes)
    }
}

extension TorchTensor {
    /// Whether its elements lie row-major without gaps.
    fileprivate var isContiguous: Bool {
        if shape.contains(0) { return true }
        var expected = 1
        for (size, stride) in zip(shape, strides).reversed() where size != 1 {
            guard stride == expected else { return false }
            expected *= size
        }
        return true
    }
}
