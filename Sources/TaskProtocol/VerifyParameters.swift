/// What a `verify` task asks for.
package struct VerifyParameters: Sendable, Equatable {
    /// What is to be proved.
    package enum Subject: Sendable, Hashable {
        /// One stored text.
        case generation(UUIDValue)
        /// All texts of a task.
        case task(TaskID)
    }

    /// How: one pass over the stored tokens, or generating anew.
    package enum Method: String, Sendable, CaseIterable { case forward, replay }

    package var subject: Subject
    /// Nil: `forward` where possible.
    package var method: Method?

    package init(subject: Subject, method: Method? = nil) {
        self.subject = subject
        self.method = method
    }

    /// The parameters' names in the contract.
    package static let names = ["generation", "task", "method"]
}
