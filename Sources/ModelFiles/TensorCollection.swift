import Encodings
import Glibc

/// The weights of a model directory, mapped from its files, under the names that stand there.
///
///     let stored = try ModelDirectory.open("/models/gpt2").tensors
///     let weights = try stored.selecting(["transformer.wte.weight"])
///     let wte = try weights.float32("transformer.wte.weight")
///
/// Nothing is read before it is asked for; opening costs the headers only.
package final class TensorCollection: Sendable {
    /// Sorted by bytes.
    package let names: [String]
    private let tensors: [String: StoredTensor]
    /// An adapter that the weights it names are merged with whenever they are read; nil: the weights are those of the files.
    package let adapter: LoRAAdapter?

    /// - Throws: `.malformed` where two tensors have one name.
    init(_ list: [StoredTensor], adapter: LoRAAdapter? = nil) throws(ModelFileError) {
        var tensors: [String: StoredTensor] = [:]
        for tensor in list {
            guard tensors.updateValue(tensor, forKey: tensor.info.name) == nil else {
                throw ModelFileError(.malformed, path: tensor.file.path, tensor: tensor.info.name, "occurs twice")
            }
        }
        self.tensors = tensors
        self.adapter = adapter
        names = tensors.keys.sorted(by: TensorNames.precedes)
    }

    /// The weights of `base`, merged with an adapter. Those that it names have their export names from here on.
    /// - Throws: where the adapter is for another model.
    convenience init(_ base: TensorCollection, merging adapter: LoRAAdapter) throws(ModelFileError) {
        var tensors = base.tensors
        for weight in adapter.weights where tensors[weight] == nil {
            guard let short = TensorNames.withoutFirstPart(weight), let tensor = tensors.removeValue(forKey: short) else { continue }
            tensors[weight] = tensor.named(weight)
        }
        try self.init(Array(tensors.values), adapter: adapter)
        try unmerged.check(adapter)
    }

    private init(unmerged collection: TensorCollection) {
        (names, tensors) = (collection.names, collection.tensors)
        adapter = nil
    }

    /// The same weights without the adapter.
    package var unmerged: TensorCollection { TensorCollection(unmerged: self) }

    private func adapter(of name: String) -> LoRAAdapter? {
        guard let adapter, adapter.weights.contains(name) else { return nil }
        return adapter
    }

    /// Opens one safetensors file that is no model.
    package static func plain(path: String) throws(ModelFileError) -> TensorCollection {
        try TensorCollection(SafetensorsFile(path: path).tensors)
    }

    /// The tensors of these export names and no others: masks, tables and tied copies stay behind.
    ///
    /// A file that was written from a model without its head has names without their first part (`wte.weight` for
    /// `transformer.wte.weight`), as the hub's original GPT-2 has; both are found. Names that the files lack are left out.
    /// - Throws: `.malformed` where a tensor stands there under both names.
    package func selecting(_ wanted: [String]) throws(ModelFileError) -> TensorCollection {
        var list: [StoredTensor] = []
        for name in wanted {
            let short = TensorNames.withoutFirstPart(name).flatMap { tensors[$0] }
            if let tensor = tensors[name] {
                guard short == nil else { throw ModelFileError(.malformed, path: tensor.file.path, tensor: name, "occurs twice") }
                list.append(tensor)
            } else if let short {
                list.append(short.named(name))
            }
        }
        return try TensorCollection(list, adapter: adapter)
    }

    /// What is known of a tensor, or nil where there is none of that name. A merged one is fp32, whatever its file holds.
    package func info(_ name: String) -> TensorInfo? {
        guard let info = tensors[name]?.info, adapter(of: name) != nil else { return tensors[name]?.info }
        return TensorInfo(name: name, dtype: .float32, shape: info.shape, byteCount: 4 * info.count)
    }

    /// The bytes that all tensors take as stored, an adapter's included.
    package var byteCount: Int { tensors.values.reduce(0) { $0 + $1.info.byteCount } + (adapter?.tensors.byteCount ?? 0) }

    /// Calls `body` with a tensor's bytes as stored (merged: as fp32), row-major, which may lie at any address.
    package func withBytes<Result>(
        _ name: String, _ body: (UnsafeRawBufferPointer) throws(ModelFileError) -> Result
    ) throws(ModelFileError) -> Result {
        let tensor = try tensor(name)
        guard adapter(of: name) != nil else { return try tensor.withBytes(body) }
        let merged = UnsafeMutableBufferPointer<Float>.allocate(capacity: tensor.info.count)
        defer { merged.deallocate() }
        if let base = merged.baseAddress { try readFloat32(name, into: base) }
        return try body(UnsafeRawBufferPointer(merged))
    }

    /// A tensor's elements as fp32.
    package func float32(_ name: String) throws(ModelFileError) -> [Float] {
        let count = try readable(name).info.count
        var failure: ModelFileError?
        let values = [Float](unsafeUninitializedCapacity: count) { buffer, initialised in
            guard let base = buffer.baseAddress else { return }
            do throws(ModelFileError) {
                try readFloat32(name, into: base)
                initialised = count
            } catch { failure = error }
        }
        if let failure { throw failure }
        return values
    }

    /// Writes a tensor's elements as fp32; `target` has room for `info(name)!.count` of them.
    /// - Throws: where the name is unknown or the stored type is no fp32, fp16 or bf16.
    package func readFloat32(_ name: String, into target: UnsafeMutablePointer<Float>) throws(ModelFileError) {
        try readable(name).convert(into: target)
        if let adapter = adapter(of: name) { try merge(name, adapter, into: target) }
    }

    /// Lets the kernel take a tensor's mapped pages back, once it has been copied elsewhere.
    package func releasePages(of name: String) {
        guard case .mapped(let file, let range) = tensors[name]?.bytes else { return }
        file.release(range)
    }

    private func tensor(_ name: String) throws(ModelFileError) -> StoredTensor {
        guard let tensor = tensors[name] else {
            throw ModelFileError(.missing, path: tensors.values.first?.file.path ?? "the model", tensor: name, "is not in the files")
        }
        return tensor
    }

    private func readable(_ name: String) throws(ModelFileError) -> StoredTensor {
        let tensor = try tensor(name)
        switch tensor.info.dtype {
        case .float32, .float16, .bfloat16: return tensor
        default:
            throw ModelFileError(
                .unsupported, path: tensor.file.path, tensor: name,
                "is stored as \(tensor.info.dtype.rawValue); weights are read from F32, F16 and BF16")
        }
    }
}

extension StoredTensor {
    /// Widens fp16 and bf16, copies fp32.
    fileprivate func convert(into target: UnsafeMutablePointer<Float>) {
        withBytes { bytes in
            guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
            switch info.dtype {
            case .float16:
                for index in 0..<info.count {
                    target[index] = widenHalf(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
                }
            case .bfloat16:
                for index in 0..<info.count {
                    let bits = UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
                    target[index] = Float(bitPattern: UInt32(bits) << 16)
                }
            default:
                memcpy(target, base, bytes.count)
            }
        }
    }
}

/// The fp32 value of an IEEE 754 half; exact, and in integers so that every processor agrees on NaN too.
func widenHalf(_ bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let exponent = UInt32(bits >> 10) & 0x1F
    let fraction = UInt32(bits & 0x3FF)
    switch exponent {
    case 0x1F: return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
    case 0: return Float(bitPattern: sign | (Float(fraction) * 0x1p-24).bitPattern)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
}
