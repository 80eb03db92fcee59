/// Why bytes are not a document that the contract allows.
package struct DocumentError: Error, Sendable, Equatable, CustomStringConvertible {
    /// What kind of refusal it is, for tests and for choosing a message.
    package enum Reason: Sendable, Equatable {
        /// Neither JSON nor MessagePack by their own grammars (also bytes that are not UTF-8, and lone surrogates).
        case malformed
        /// A map names a member twice.
        case duplicateName
        /// More containers within each other than allowed.
        case tooDeep
        /// Infinity, NaN, or digits beyond a double's range.
        case notFinite
        /// A string holds U+0000, which PostgreSQL cannot store.
        case containsNUL
        /// A MessagePack value that JSON has no word for: an extension, or a map key that is not a string.
        case unsupportedType
    }

    /// The kind of refusal.
    package let reason: Reason
    /// One sentence for a person; never holds more of the input than a member's name.
    package let description: String

    package init(_ reason: Reason, _ description: String) {
        self.reason = reason
        self.description = description
    }
}
