import Glibc

/// Which products training uses: the exact ones (bits fixed everywhere), or OpenBLAS's sgemm, loaded at run time for
/// comparison (same machine and thread count only).
package enum Backend: String, Sendable, CaseIterable {
    case exact, openblas
}

/// OpenBLAS's single-precision product, looked up with dlopen so that no command pays for a library it does not use.
package struct OpenBLAS: Sendable {
    private typealias Gemm =
        @convention(c) (
            Int32, Int32, Int32, Int32, Int32, Int32, Float, UnsafePointer<Float>?, Int32, UnsafePointer<Float>?, Int32, Float,
            UnsafeMutablePointer<Float>?, Int32
        ) -> Void

    private let gemm: Gemm

    /// Nil where no OpenBLAS is installed.
    package init?(threads: Int) {
        let names = ["libopenblas.so.0", "libopenblas.so"]
        guard let library = names.lazy.compactMap({ dlopen($0, RTLD_NOW | RTLD_LOCAL) }).first,
            let product = dlsym(library, "cblas_sgemm")
        else { return nil }
        gemm = unsafeBitCast(product, to: Gemm.self)
        if let setThreads = dlsym(library, "openblas_set_num_threads") {
            unsafeBitCast(setThreads, to: (@convention(c) (Int32) -> Void).self)(Int32(threads))
        }
    }

    /// c = op(a)·op(b) + beta·c, row-major: op(a) is m × k, op(b) is k × n.
    package func multiply(
        m: Int, n: Int, k: Int, a: UnsafePointer<Float>, transposeA: Bool, strideA: Int, b: UnsafePointer<Float>, transposeB: Bool, strideB: Int,
        beta: Float, c: UnsafeMutablePointer<Float>, strideC: Int
    ) {
        let rowMajor: Int32 = 101
        let plain: Int32 = 111
        let transposed: Int32 = 112
        gemm(
            rowMajor, transposeA ? transposed : plain, transposeB ? transposed : plain, Int32(m), Int32(n), Int32(k), 1, a, Int32(strideA), b,
            Int32(strideB), beta, c, Int32(strideC))
    }
}
