import Kernels

extension InstructionSet {
    /// Makes current what SCRIPTORIUM_ISA names, or the widest that this processor has. Every command that computes calls it before
    /// anything else, so that a set which is not there ends the command and is never replaced in silence.
    /// - Throws: ``CommandFailure/usage(_:)``, listing the sets that there are.
    @discardableResult
    static func chosen() throws -> InstructionSet {
        do {
            return try select(named: Program.environment()["SCRIPTORIUM_ISA"])
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }
}
