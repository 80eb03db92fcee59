import CKernels

/// One number for every bit that a function of one variable gives over all 2³² floats, so that instruction sets, compilers and
/// machines can be held to one arithmetic without keeping 16 GiB a function.
package struct FunctionSurvey: Sendable {
    /// As in the configurations of models; `'` marks an activation's derivative.
    package let name: String
    /// What every machine must find: part of the numerics version `float32/1`.
    package let committed: UInt64
    let code: Int32

    private init(_ name: String, _ code: Int, _ committed: UInt64, isDerivative: Bool = false) {
        self.name = name
        self.committed = committed
        self.code = Int32(code + (isDerivative ? Int(CK_DERIVATIVE) : 0))
    }

    /// Every function that reaches a weight or a logit in single precision.
    package static let all = [
        FunctionSurvey("exp", Int(CK_EXP), 0x5642_b25b_b8d6_e477),
        FunctionSurvey("log", Int(CK_LOG), 0xd51f_6329_458e_abf6),
        FunctionSurvey("log1p", Int(CK_LOG1P), 0xe2d0_0f14_6e24_e125),
        FunctionSurvey("tanh", Int(CK_TANH), 0xad31_cc4b_c384_3cd8),
        FunctionSurvey("erf", Int(CK_ERF), 0xb471_e4a0_8164_719e),
        FunctionSurvey("gelu_new", Int(CK_GELU_NEW), 0xe8fb_834d_8e6b_a112),
        FunctionSurvey("gelu", Int(CK_GELU), 0x1469_c830_4ff9_bca7),
        FunctionSurvey("relu", Int(CK_RELU), 0xdbf1_585b_2dc6_74a5),
        FunctionSurvey("silu", Int(CK_SILU), 0xf108_b25d_a873_c2b6),
        FunctionSurvey("quick_gelu", Int(CK_QUICK_GELU), 0x7d37_4f52_a50b_3ed2),
        FunctionSurvey("gelu_new'", Int(CK_GELU_NEW), 0x1e17_6ca4_31bc_8228, isDerivative: true),
        FunctionSurvey("gelu'", Int(CK_GELU), 0x1ac7_45a0_ed65_2d52, isDerivative: true),
        FunctionSurvey("relu'", Int(CK_RELU), 0x2b12_b225_c79c_3d66, isDerivative: true),
        FunctionSurvey("silu'", Int(CK_SILU), 0x8aa5_38ef_a755_6659, isDerivative: true),
        FunctionSurvey("quick_gelu'", Int(CK_QUICK_GELU), 0x8299_e0d0_c9fb_cc5b, isDerivative: true),
        FunctionSurvey("tanh'", Int(CK_TANH), 0xa12e_e3e5_cca5_8f46, isDerivative: true),
    ]

    /// A loop of the pool has a limit of parts: a survey is done in this many pieces of 2²⁸ floats.
    package static let pieceCount = 16

    /// The number as it is computed here: a sum over the floats (ck_survey.h), NaNs counting alike. Takes seconds to minutes.
    /// - Parameter progress: is told after each piece how many of the ``pieceCount`` are done.
    package func sum(pool: ThreadPool, progress: (_ done: Int) -> Void = { _ in }) -> UInt64 {
        var sum: UInt64 = 0
        for piece in 0..<Self.pieceCount {
            sum &+= ck_survey(pool.handle, code, UInt32(piece) << 28, 1, 1 << 28)
            progress(piece + 1)
        }
        return sum
    }
}
