/// The element types that a safetensors header may name.
///
/// Source: the safetensors format; only the floating ones of up to 32 bits are read as weights, the others occur in buffers.
package enum ElementType: String, Sendable, CaseIterable {
    case float64 = "F64"
    case float32 = "F32"
    case float16 = "F16"
    case bfloat16 = "BF16"
    case float8e4m3 = "F8_E4M3"
    case float8e5m2 = "F8_E5M2"
    case int64 = "I64"
    case int32 = "I32"
    case int16 = "I16"
    case int8 = "I8"
    case uint64 = "U64"
    case uint32 = "U32"
    case uint16 = "U16"
    case uint8 = "U8"
    case bool = "BOOL"

    /// Bytes of one element.
    package var byteCount: Int {
        switch self {
        case .float64, .int64, .uint64: 8
        case .float32, .int32, .uint32: 4
        case .float16, .bfloat16, .int16, .uint16: 2
        case .float8e4m3, .float8e5m2, .int8, .uint8, .bool: 1
        }
    }
}

/// One tensor as its file describes it.
package struct TensorInfo: Sendable, Equatable {
    /// As it stands in the file, or the export name (``TensorCollection/selecting(_:)``).
    package let name: String
    /// The type of its elements as stored.
    package let dtype: ElementType
    /// Row-major, outermost first; empty for a scalar.
    package let shape: [Int]
    /// The bytes it takes in the file: the product of ``shape`` times the element's size.
    package let byteCount: Int

    package init(name: String, dtype: ElementType, shape: [Int], byteCount: Int) {
        self.name = name
        self.dtype = dtype
        self.shape = shape
        self.byteCount = byteCount
    }

    /// The number of its elements.
    package var count: Int { byteCount / dtype.byteCount }
}
