/// Why the engine could not do what was asked; its description is a sentence that says what, where and what to do, and holds
/// no text of a prompt.
public struct EngineError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The sentence.
    public let description: String

    init(_ description: String) { self.description = description }

    /// - Parameter error: an error of the floors below, or one of these.
    init(_ error: any Error) { self.init((error as? EngineError)?.description ?? "\(error)") }
}
