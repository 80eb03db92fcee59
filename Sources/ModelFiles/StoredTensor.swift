/// Where a tensor's elements lie.
enum TensorBytes: Sendable {
    /// One after the other, row-major, in this stretch of a mapped file.
    case mapped(MappedFile, Range<Int>)
    /// Apart from each other, as a transposed or cut view was saved: element (i₀, i₁, …) at `base` + Σ iₖ · strides[k] elements.
    case strided(MappedFile, base: Int, strides: [Int])
}

/// One tensor of a file, checked: its bytes lie within the file.
struct StoredTensor: Sendable {
    let info: TensorInfo
    let bytes: TensorBytes

    var file: MappedFile {
        switch bytes {
        case .mapped(let file, _), .strided(let file, _, _): file
        }
    }

    /// The same tensor under another name.
    func named(_ name: String) -> StoredTensor {
        StoredTensor(info: TensorInfo(name: name, dtype: info.dtype, shape: info.shape, byteCount: info.byteCount), bytes: bytes)
    }

    /// Calls `body` with the elements row-major; those that lie apart are copied for the call.
    func withBytes<Result, Failure: Error>(_ body: (UnsafeRawBufferPointer) throws(Failure) -> Result) throws(Failure) -> Result {
        switch bytes {
        case .mapped(let file, let range): return try body(UnsafeRawBufferPointer(rebasing: file.bytes[range]))
        case .strided(let file, let base, let strides):
            let gathered = gather(file, base: base, strides: strides)
            defer { gathered.deallocate() }
            return try body(UnsafeRawBufferPointer(gathered))
        }
    }

    /// The elements side by side; the caller deallocates them.
    private func gather(_ file: MappedFile, base: Int, strides: [Int]) -> UnsafeMutableRawBufferPointer {
        let size = info.dtype.byteCount
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: info.byteCount, alignment: 16)
        var index = [Int](repeating: 0, count: info.shape.count)
        for element in 0..<info.count {
            var offset = base
            for (axis, at) in index.enumerated() { offset += at * strides[axis] * size }
            for byte in 0..<size { target[element * size + byte] = file.bytes[offset + byte] }
            var axis = info.shape.count - 1
            while axis >= 0 {
                index[axis] += 1
                if index[axis] < info.shape[axis] { break }
                index[axis] = 0
                axis -= 1
            }
        }
        return target
    }
}
