import CKernels

/// What a model's matrices are kept as and multiplied in (reproducibility.md 1 to 3). Everything else is float32 always, but
/// that keys and values are kept as bfloat16 where the matrices are.
package enum WeightPrecision: String, Sendable, CaseIterable {
    /// Four bytes a weight.
    case float32
    /// Two bytes a weight; rows are rounded likewise before they meet it.
    case bfloat16
    /// A byte a weight and four a group of 128 and column; rows are brought to whole numbers of ±127 by a scale each.
    case int8

    /// The kernels' number for it.
    package var code: Int32 {
        switch self {
        case .float32: Int32(CK_FLOAT32)
        case .bfloat16: Int32(CK_BFLOAT16)
        case .int8: Int32(CK_INT8)
        }
    }

    /// Whether keys and values are kept as bfloat16.
    package var hasNarrowKeys: Bool { self == .bfloat16 }

    /// Floats of memory that a product needs for its rows as rounded; none for float32.
    package func preparedFloats(rows: Int, inputs: Int) -> Int { self == .float32 ? 0 : ck_prepared_floats(rows, inputs) }
}
