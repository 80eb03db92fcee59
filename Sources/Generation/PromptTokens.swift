import LanguageModels
import Tokenizers

extension Tokenizer {
    /// A prompt's tokens as a model is given them.
    /// - Parameter prependBos: a beginning-of-text token stands before it; an empty prompt has it in any case.
    /// - Throws: ``GenerationError/noBeginning`` where one is needed and the model has none.
    func promptTokens(_ prompt: String, prependBos: Bool, description: ModelDescription) throws(GenerationError) -> [Int32] {
        let tokens = prompt.isEmpty ? [] : encode(prompt)
        let rows = description.vocabularySize
        guard tokens.allSatisfy({ $0 < rows }) else { throw .model(.tokenizerTooLarge(tokens: vocabularySize, rows: rows)) }
        guard prependBos || tokens.isEmpty else { return tokens }
        guard let bos = description.bosID else { throw .noBeginning }
        return [bos] + tokens
    }
}
