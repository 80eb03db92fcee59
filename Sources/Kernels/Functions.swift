import CKernels

/// Functions of one variable whose bits are the same on every machine: own polynomials, no libm.
package enum Functions {
    package static func exp(_ x: Float) -> Float { ck_expf(x) }
    package static func log(_ x: Float) -> Float { ck_logf(x) }
    package static func log1p(_ x: Float) -> Float { ck_log1pf(x) }
    package static func tanh(_ x: Float) -> Float { ck_tanhf(x) }
    package static func erf(_ x: Float) -> Float { ck_erff(x) }
    package static func activation(_ activation: Activation, _ x: Float) -> Float { ck_apply(activation.rawValue, x) }

    package static func exp(_ x: Double) -> Double { ck_exp(x) }
    package static func log(_ x: Double) -> Double { ck_log(x) }
    /// For |x| ≤ 10⁶.
    package static func sin(_ x: Double) -> Double { ck_sin(x) }
    /// For |x| ≤ 10⁶.
    package static func cos(_ x: Double) -> Double { ck_cos(x) }
}
