package import Kernels

/// One function of one variable over all 2³² floats on one instruction set: whether this machine computes the committed bits.
package struct FunctionsCheck: Check {
    package let survey: FunctionSurvey
    let pool: ThreadPool

    /// - Parameter pool: says which instruction set is looked at, and on how many threads.
    package init(_ survey: FunctionSurvey, pool: ThreadPool) {
        self.survey = survey
        self.pool = pool
    }

    /// Functions on every set given, in the order in which they are looked at.
    /// - Parameter surveys: the functions; all unless some are named.
    package static func all(_ sets: [InstructionSet], threads: Int, surveys: [FunctionSurvey] = FunctionSurvey.all) -> [FunctionsCheck] {
        sets.flatMap { set in
            let pool = ThreadPool(threads: threads, instructionSet: set)
            return surveys.map { FunctionsCheck($0, pool: pool) }
        }
    }

    package func findings() -> [Finding] { findings(progress: { _ in }) }

    /// Looks, and says how far it is.
    /// - Parameter progress: is told how many of a survey's ``FunctionSurvey/pieceCount`` pieces are done.
    package func findings(progress: (_ done: Int) -> Void) -> [Finding] { findings(of: survey.sum(pool: pool, progress: progress)) }

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
