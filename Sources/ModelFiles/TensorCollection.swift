import Encodings
import Glibc

/// The weights of a model directory, mapped from one safetensors file or from its shards, under their export names.
///
///     let weights = try ModelDirectory.open("/models/gpt2").tensors
///     let wte = try weights.float32("transformer.wte.weight")
///
/// Nothing is read before it is asked for; opening costs the headers only.
package final class TensorCollection: Sendable {
    private struct Place: Sendable {
        let info: TensorInfo
        let file: MappedFile
        let range: Range<Int>
    }

    /// Sorted by bytes; no masks, no tied copies.
    package let names: [String]
    private let places: [String: Place]
    /// An adapter that the weights it names are merged with whenever they are read; nil: the weights are those of the files.
    package let adapter: LoRAAdapter?

    /// - Parameters:
    ///   - paths: the files, all of whose tensors are taken.
    ///   - tied: whether the output matrix is the token embedding, so that a stored copy of it is dropped.
    ///   - required: stored names that must be in a certain file (a shard index), by file path.
    ///   - plain: whether names stay as stored and nothing is dropped.
    init(paths: [String], tied: Bool, required: [String: [String]] = [:], plain: Bool = false) throws(ModelFileError) {
        var places: [String: Place] = [:]
        for path in paths {
            let file = try SafetensorsFile(path: path)
            let stored = Set(file.entries.map(\.name))
            for name in required[path] ?? [] where !stored.contains(name) {
                throw ModelFileError(.malformed, path: path, tensor: name, "is not in this file, though the index says so")
            }
            for entry in file.entries {
                let name = plain ? entry.name : TensorNames.exported(entry.name)
                if !plain && (TensorNames.isBuffer(name) || TensorNames.isTiedCopy(name, tied: tied)) { continue }
                guard places[name] == nil else { throw ModelFileError(.malformed, path: path, tensor: name, "occurs twice") }
                let info = TensorInfo(name: name, dtype: entry.dtype, shape: entry.shape, byteCount: entry.range.count)
                places[name] = Place(info: info, file: file.file, range: entry.range)
            }
        }
        self.places = places
        adapter = nil
        names = places.keys.sorted(by: TensorNames.precedes)
    }

    /// The weights of `base`, merged with an adapter.
    /// - Throws: where the adapter is for another model.
    init(_ base: TensorCollection, merging adapter: LoRAAdapter) throws(ModelFileError) {
        try base.check(adapter)
        (names, places) = (base.names, base.places)
        self.adapter = adapter
    }

    private init(unmerged collection: TensorCollection) {
        (names, places) = (collection.names, collection.places)
        adapter = nil
    }

    /// The same weights without the adapter.
    package var unmerged: TensorCollection { TensorCollection(unmerged: self) }

    private func adapter(of name: String) -> LoRAAdapter? {
        guard let adapter, adapter.weights.contains(name) else { return nil }
        return adapter
    }

    /// Opens one safetensors file that is no model: every tensor under the name it has there.
    package static func plain(path: String) throws(ModelFileError) -> TensorCollection {
        try TensorCollection(paths: [path], tied: false, plain: true)
    }

    /// What is known of a tensor, or nil where there is none of that name. A merged one is fp32, whatever its file holds.
    package func info(_ name: String) -> TensorInfo? {
        guard let info = places[name]?.info, adapter(of: name) != nil else { return places[name]?.info }
        return TensorInfo(name: name, dtype: .float32, shape: info.shape, byteCount: 4 * info.count)
    }

    /// The bytes that all tensors take as stored, an adapter's included.
    package var byteCount: Int { places.values.reduce(0) { $0 + $1.info.byteCount } + (adapter?.tensors.byteCount ?? 0) }

    /// Calls `body` with a tensor's bytes as stored (merged: as fp32), which may lie at any address.
    package func withBytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) -> Result) throws(ModelFileError) -> Result {
        let place = try place(name)
        guard adapter(of: name) != nil else { return body(UnsafeRawBufferPointer(rebasing: place.file.bytes[place.range])) }
        let merged = try float32(name)
        return merged.withUnsafeBytes(body)
    }

    /// A tensor's elements as fp32.
    package func float32(_ name: String) throws(ModelFileError) -> [Float] {
        let place = try place(name)
        try checkReadable(place)
        var values = [Float](unsafeUninitializedCapacity: place.info.count) { buffer, count in
            if let base = buffer.baseAddress { convert(place, into: base) }
            count = place.info.count
        }
        guard let adapter = adapter(of: name) else { return values }
        var failure: ModelFileError?
        values.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            do throws(ModelFileError) { try merge(name, adapter, into: base) } catch { failure = error }
        }
        if let failure { throw failure }
        return values
    }

    /// Writes a tensor's elements as fp32; `target` has room for `info(name)!.count` of them.
    /// - Throws: where the name is unknown or the stored type is no fp32, fp16 or bf16.
    package func readFloat32(_ name: String, into target: UnsafeMutablePointer<Float>) throws(ModelFileError) {
        let place = try place(name)
        try checkReadable(place)
        convert(place, into: target)
        if let adapter = adapter(of: name) { try merge(name, adapter, into: target) }
    }

    /// Lets the kernel take a tensor's mapped pages back, once it has been copied elsewhere.
    package func releasePages(of name: String) {
        guard let place = places[name] else { return }
        place.file.release(place.range)
    }

    private func place(_ name: String) throws(ModelFileError) -> Place {
        guard let place = places[name] else {
            throw ModelFileError(.missing, path: places.values.first?.file.path ?? "model.safetensors", tensor: name, "is not in the file")
        }
        return place
    }

    private func checkReadable(_ place: Place) throws(ModelFileError) {
        switch place.info.dtype {
        case .float32, .float16, .bfloat16: return
        default:
            throw ModelFileError(
                .unsupported, path: place.file.path, tensor: place.info.name,
                "is stored as \(place.info.dtype.rawValue); weights are read from F32, F16 and BF16")
        }
    }

    private func convert(_ place: Place, into target: UnsafeMutablePointer<Float>) {
        let bytes = UnsafeRawBufferPointer(rebasing: place.file.bytes[place.range])
        guard let base = bytes.baseAddress, !bytes.isEmpty else { return }
        switch place.info.dtype {
        case .float16:
            for index in 0..<place.info.count {
                target[index] = widenHalf(UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self)))
            }
        case .bfloat16:
            for index in 0..<place.info.count {
                let bits = UInt16(littleEndian: base.loadUnaligned(fromByteOffset: 2 * index, as: UInt16.self))
                target[index] = Float(bitPattern: UInt32(bits) << 16)
            }
        default:
            memcpy(target, base, bytes.count)
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
