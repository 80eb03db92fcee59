package import Kernels

/// The version of the arithmetic that a text was made with, one a precision.
///
/// It counts kernels, functions and sampler together. A change that alters any bit raises it, and the test with
/// golden bits fails until that is done. A text can be proved only within one version.
package enum Numerics {
    /// The version's id for float32.
    package static let float32 = "float32/1"
    /// The version's id for bfloat16 weights.
    package static let bfloat16 = "bfloat16/1"
    /// The version's id for int8 weights.
    package static let int8 = "int8/1"

    /// The version's id for a precision.
    package static func version(of precision: WeightPrecision) -> String {
        switch precision {
        case .float32: float32
        case .bfloat16: bfloat16
        case .int8: int8
        }
    }

    /// Every version that this program computes in.
    package static var all: [String] { WeightPrecision.allCases.map(version) }
}
