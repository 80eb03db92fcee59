package import Kernels

/// One function of one variable over all 2³² floats on one instruction set: whether this machine computes the committed bits.
package struct FunctionsCheck: Check {
    let survey: FunctionSurvey
    let pool: ThreadPool

    /// - Parameter pool: says which instruction set is looked at, and on how many threads.
    package init(_ survey: FunctionSurvey, pool: ThreadPool) {
        self.survey = survey
        self.pool = pool
    }

    /// Every function on every set given, in the order in which they are looked at.
    package static func all(_ sets: [InstructionSet], threads: Int) -> [FunctionsCheck] {
        sets.flatMap { set in
            let pool = ThreadPool(threads: threads, instructionSet: set)
            return FunctionSurvey.all.map { FunctionsCheck($0, pool: pool) }
        }
    }

    package func findings() -> [Finding] { findings(of: survey.sum(pool: pool)) }

    /// What a sum says of the function.
    package func findings(of sum: UInt64) -> [Finding] {
        let subject = "\(survey.name) on \(pool.instructionSet.rawValue)"
        if sum == survey.committed { return [.ok(subject, Self.digits(sum))] }
        return [
            .fail(
                subject, "\(Self.digits(sum)), and not \(Self.digits(survey.committed))",
                mend: "texts of this machine cannot be trusted to be those of others: try another SCRIPTORIUM_ISA, and report processor and compiler")
        ]
    }

    private static func digits(_ sum: UInt64) -> String {
        let text = String(sum, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
