/// Why a proof record, or a line that holds one, cannot be read.
package struct RecordError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The member at fault, such as `token_ids` or `params.top_p`.
    package let member: String
    /// What is wrong with it.
    package let problem: String

    package var description: String { "\(member): \(problem)" }
}
