/// The version of the arithmetic that a text was made with.
///
/// It counts kernels, functions and sampler together. A change that alters any bit raises it, and the test with
/// golden bits fails until that is done. A text can be proved only within one version.
package enum Numerics {
    /// The version's id for float32.
    package static let float32 = "float32/1"
}
