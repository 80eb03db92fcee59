import CKernels

/// Cosines and sines of every position and pair, computed once a model.
package final class RotaryTable: Sendable {
    /// Pairs of columns that turn in each head.
    package let pairs: Int
    private let buffer: FloatBuffer
    private let half: Int

    /// - Parameter positions: at most a million.
    package init(_ rotary: Rotary, positions: Int) {
        pairs = rotary.pairs
        half = positions * rotary.pairs
        buffer = FloatBuffer(count: 2 * half)
        ck_rotary_table(positions, rotary.pairs, rotary.base, buffer.pointer, buffer.pointer + half)
    }

    /// [positions][pairs]
    package var cosines: UnsafePointer<Float> { UnsafePointer(buffer.pointer) }
    /// [positions][pairs]
    package var sines: UnsafePointer<Float> { UnsafePointer(buffer.pointer + half) }

    var floatCount: Int { buffer.count }
}
