import ArgumentParser
import Diagnosis
import Glibc
import Kernels
import Supervision

/// The part of `doctor` that takes minutes: functions of one variable over every float, against the committed bits.
struct DoctorFunctions: ParsableArguments {
    @Flag(help: "Look only at the functions of one variable, over all 2^32 floats, on every instruction set (or SCRIPTORIUM_ISA's): minutes.")
    var functions = false

    @Option(help: ArgumentHelp("Look only at this one of --functions, by its name (exp, gelu_new'); repeatable.", valueName: "name"))
    var function: [String] = []

    @Option(help: ArgumentHelp("Threads for --functions; default: one a processor.", valueName: "count"))
    var threads: Int?

    func validate() throws {
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads: \(threads) is not in 1 … 1024") }
        let names = FunctionSurvey.all.map(\.name)
        for name in function where !names.contains(name) {
            throw ValidationError("--function: \"\(name)\" is none of \(names.joined(separator: ", "))")
        }
    }

    /// Whether this is what `doctor` shall do.
    var isAsked: Bool { functions || !function.isEmpty }

    /// What is found, function by function.
    /// - Parameter show: is given each finding as soon as it is there.
    /// - Throws: ``CommandFailure/usage(_:)`` where `SCRIPTORIUM_ISA` names what this processor lacks.
    func findings(show: @escaping @Sendable (Finding) -> Void) async throws -> [Finding] {
        let chosen = try InstructionSet.chosen()
        let isNamed = !(Program.environment()["SCRIPTORIUM_ISA"] ?? "").isEmpty
        let checks = FunctionsCheck.all(
            isNamed ? [chosen] : InstructionSet.available, threads: threads ?? max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            surveys: FunctionSurvey.all.filter { function.isEmpty || function.contains($0.name) })
        return await onThread {
            let pieces = FunctionSurvey.pieceCount
            var bar = ProgressBar(total: checks.count * pieces, label: "functions")
            var findings: [Finding] = []
            for (place, check) in checks.enumerated() {
                bar.update(place * pieces, note: check.survey.name)
                let found = check.findings { bar.update(place * pieces + $0, note: check.survey.name) }
                bar.finish()
                found.forEach(show)
                findings += found
            }
            return findings
        }
    }
}
