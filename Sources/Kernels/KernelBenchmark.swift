import Glibc

/// Speeds of the matrix product on this machine, for `scriptorium bench` and for people who tune.
package enum KernelBenchmark {
    /// One measurement.
    package struct Figure: Sendable, CustomStringConvertible {
        package let instructionSet: InstructionSet
        package let threads: Int
        package let rows: Int
        package let inputs: Int
        package let outputs: Int
        /// Best of several runs.
        package let gigaflops: Double
        /// Weight bytes read a second, in 10⁹.
        package let gigabytes: Double

        package var description: String {
            let shape = "\(rows) x \(inputs) x \(outputs)"
            return "\(instructionSet.rawValue) \(threads) threads, \(shape): \(Int(gigaflops.rounded())) GFLOP/s, \(Int(gigabytes.rounded())) GB/s"
        }
    }

    /// The shapes of GPT-2's layers and of the small configuration.
    package static let shapes = [
        (inputs: 768, outputs: 3072), (inputs: 3072, outputs: 768), (inputs: 128, outputs: 512), (inputs: 512, outputs: 128),
    ]

    /// Times the product of `rows` rows with a matrix; several copies of the matrix are used in turn, so that a small number of
    /// rows reads its weights from memory as a model does.
    /// - Throws: `KernelError.outOfMemory`.
    package static func linear(rows: Int, inputs: Int, outputs: Int, threads: Int, instructionSet: InstructionSet = .current) throws(KernelError)
        -> Figure
    {
        let pool = ThreadPool(threads: threads, instructionSet: instructionSet)
        let source = [Float](repeating: 0.5, count: inputs * outputs)
        let bytes = inputs * outputs * MemoryLayout<Float>.stride
        var matrices: [PackedMatrix] = []
        for _ in 0..<max(1, min(16, (64 << 20) / bytes)) {
            let matrix = try PackedMatrix(inputs: inputs, outputs: outputs, instructionSet: instructionSet)
            matrix.pack(source, layout: .inputMajor, pool: pool)
            matrices.append(matrix)
        }
        let x = [Float](repeating: 0.25, count: rows * inputs)
        var out = [Float](repeating: 0, count: rows * outputs)
        let operations = 2.0 * Double(rows) * Double(inputs) * Double(outputs)
        let repeats = max(matrices.count, Int(4e8 / operations))
        var best = Double.infinity
        for _ in 0..<7 {
            let start = seconds()
            for index in 0..<repeats {
                Linear.apply(
                    x: x, rows: rows, xStride: inputs, weights: matrices[index % matrices.count], out: &out, outStride: outputs, pool: pool)
            }
            best = min(best, (seconds() - start) / Double(repeats))
        }
        return Figure(
            instructionSet: instructionSet, threads: threads, rows: rows, inputs: inputs, outputs: outputs, gigaflops: operations / best * 1e-9,
            gigabytes: Double(bytes) / best * 1e-9)
    }

    private static func seconds() -> Double {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return Double(now.tv_sec) + Double(now.tv_nsec) * 1e-9
    }
}
