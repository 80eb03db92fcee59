/// When a text ends, and why: one rule for the scheduler that makes a text and for the verifier that reads one.
struct Ending: Sendable {
    /// Each of these ends a text.
    let endTokens: [Int32]
    /// Tokens of the whole text, prompt included, at which it ends at the latest.
    let maximumLength: Int

    /// Why the text ends with this token; nil where it goes on.
    /// - Parameters:
    ///   - length: tokens of the whole text, this one included.
    ///   - assembler: the text with this token; it is finished where it ends, which can still complete a stop string.
    func reason(token: Int32, length: Int, assembler: inout TextAssembler) -> FinishReason? {
        if endTokens.contains(token) {
            assembler.finish()
            return .eos
        }
        if assembler.isStopped { return .stop }
        guard length >= maximumLength else { return nil }
        assembler.finish()
        return assembler.isStopped ? .stop : .length
    }
}

extension SamplingParameters {
    /// Tokens at which a text ends at the latest, in a model of this context.
    func maximumLength(context: Int) -> Int { slidingWindow ? maxLength : min(maxLength, context) }
}
