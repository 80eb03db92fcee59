import CKernels
import Kernels
import TestSupport

/// Arrays for kernel tests, from a seed that a failing test prints.
struct Numbers {
    var generator: SeededGenerator

    init(seed: UInt64) { generator = SeededGenerator(seed: seed) }

    mutating func integer(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }

    /// Uniform in −scale … scale.
    mutating func uniform(_ count: Int, scale: Float = 1) -> [Float] {
        (0..<count).map { _ in Float.random(in: -scale...scale, using: &generator) }
    }

    /// Denormals, signed zeros, huge and ordinary values mixed.
    mutating func edges(_ count: Int) -> [Float] {
        let special: [Float] = [
            0, -0.0, .leastNonzeroMagnitude, -.leastNonzeroMagnitude, 0x1p-126, -0x1p-126, Float(bitPattern: 0x7f_ffff), 0x1p-140, 1e18, -1e18, 1, -1,
            0x1p-75,
            -0x1p-75,
        ]
        return (0..<count).map { _ in
            Bool.random(using: &generator) ? special.randomElement(using: &generator) ?? 0 : Float.random(in: -2...2, using: &generator)
        }
    }
}

/// Index of the first element whose bits differ (NaN equals NaN), or nil.
func firstDifference(_ a: [Float], _ b: [Float]) -> Int? {
    guard a.count == b.count else { return min(a.count, b.count) }
    return a.indices.first { a[$0].bitPattern != b[$0].bitPattern && !(a[$0].isNaN && b[$0].isNaN) }
}

/// FNV-1a over the bits; NaNs count alike.
func bitsHash(_ values: [Float]) -> UInt64 {
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    for value in values {
        var word = value.isNaN ? 0x7fc0_0000 : value.bitPattern
        for _ in 0..<4 {
            hash = (hash ^ UInt64(word & 0xff)) &* 0x100_0000_01b3
            word >>= 8
        }
    }
    return hash
}

/// Every set this machine has but the definition itself; tests name the ones they skip.
let variants: [InstructionSet] = {
    let missing = InstructionSet.allCases.filter { !InstructionSet.available.contains($0) }
    print("kernels tested: \(InstructionSet.available.map(\.rawValue)), not on this machine: \(missing.map(\.rawValue))")
    return InstructionSet.available.filter { $0 != .plain }
}()

/// A product as tests run it: packs, multiplies, returns the rows.
struct LinearCase {
    var rows: Int
    var inputs: Int
    var outputs: Int
    var x: [Float]
    var weights: [Float]
    var bias: [Float]?
    var residual: [Float]?
    var activation: Activation = .linear
    var layout: PackedMatrix.Layout = .inputMajor
    var start: [Float]?
    var precision = WeightPrecision.float32

    func run(_ set: InstructionSet, threads: Int = 1) throws -> [Float] {
        let pool = ThreadPool(threads: threads, instructionSet: set)
        let matrix = try PackedMatrix(inputs: inputs, outputs: outputs, precision: precision, instructionSet: set)
        matrix.pack(weights, layout: layout, pool: pool)
        let prepared = AlignedFloats(precision.preparedFloats(rows: rows, inputs: inputs))
        var out = start ?? [Float](repeating: .nan, count: rows * outputs)
        withOptionalPointer(bias) { bias in
            withOptionalPointer(residual) { residual in
                Linear.apply(
                    x: x, rows: rows, xStride: inputs, weights: matrix, bias: bias, activation: activation, residual: residual, out: &out,
                    outStride: outputs, accumulate: start != nil, prepared: prepared.pointer, pool: pool)
            }
        }
        return out
    }
}

/// Memory as products with narrow weights want it, full of NaN: what was not written must not be used.
final class AlignedFloats {
    let pointer: UnsafeMutablePointer<Float>

    init(_ count: Int) {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: max(64, count * 4), alignment: 64)
        pointer = memory.bindMemory(to: Float.self, capacity: count)
        pointer.initialize(repeating: .nan, count: count)
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }
}

func withOptionalPointer(_ values: [Float]?, _ body: (UnsafePointer<Float>?) -> Void) {
    guard let values else { return body(nil) }
    values.withUnsafeBufferPointer { body($0.baseAddress) }
}

/// Attention over pages as inference runs it: stores all positions, then asks for rows `from ..< count`, in chunks.
struct AttentionCase {
    var count: Int
    var heads: Int
    var headWidth: Int
    var window = 0
    var queries: [Float]
    var keys: [Float]
    var values: [Float]

    init(count: Int, heads: Int, headWidth: Int, window: Int = 0, numbers: inout Numbers) {
        self.count = count
        self.heads = heads
        self.headWidth = headWidth
        self.window = window
        let floats = count * heads * headWidth
        queries = numbers.uniform(floats, scale: 2)
        keys = numbers.uniform(floats, scale: 2)
        values = numbers.uniform(floats)
    }

    func run(_ set: InstructionSet, threads: Int = 1, chunk: Int, isNarrow: Bool = false) -> [Float] {
        let pool = ThreadPool(threads: threads, instructionSet: set)
        let layout = KVLayout(heads: heads, headWidth: headWidth, isNarrow: isNarrow)
        let stride = heads * headWidth
        let pageCount = (count + KVLayout.pagePositions - 1) / KVLayout.pagePositions
        let offset = 7
        var pages: [UnsafeMutablePointer<Float>?] = (0..<pageCount).map { _ in
            let page = UnsafeMutablePointer<Float>.allocate(capacity: layout.pageFloats + offset)
            page.initialize(repeating: .nan, count: layout.pageFloats + offset)  // what is not stored must never be used
            return page
        }
        defer { pages.forEach { $0?.deallocate() } }
        var out = [Float](repeating: .nan, count: count * stride)
        var first = 0
        while first < count {
            let rows = min(chunk, count - first)
            keys.withUnsafeBufferPointer { keys in
                values.withUnsafeBufferPointer { values in
                    queries.withUnsafeBufferPointer { queries in
                        out.withUnsafeMutableBufferPointer { out in
                            pages.withUnsafeMutableBufferPointer { pages in
                                let at = first * stride
                                Attention.store(
                                    keys: keys.baseAddress! + at, values: values.baseAddress! + at, stride: stride, rows: rows, firstPosition: first,
                                    pages: pages.baseAddress!, pageOffset: offset, layout: layout)
                                var span = AttentionSpan(
                                    pages: pages.baseAddress!, page_offset: offset, queries: queries.baseAddress! + at, query_stride: stride,
                                    query_head_stride: headWidth,
                                    out: out.baseAddress! + at, out_stride: stride, rows: UInt32(rows), first_position: UInt32(first),
                                    statistics: nil, dropout: nil)
                                Attention.apply(spans: &span, count: 1, layout: layout, scale: 0.25, window: window, pool: pool)
                            }
                        }
                    }
                }
            }
            first += rows
        }
        return out
    }
}
