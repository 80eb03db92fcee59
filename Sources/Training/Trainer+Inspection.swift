import Kernels
import LanguageModels

/// A look at a trainer's numbers, and a hand on them: for tests and measurements.
extension Trainer {
    /// The logits after the last of some tokens, with the weights as they are. For tests and a look: it plans memory of its own.
    package func lastLogits(of tokens: [Int32]) throws(TrainingError) -> [Float] {
        guard !tokens.isEmpty, tokens.count <= description.contextLength else {
            throw .option(name: "tokens", message: "must be 1 to \(description.contextLength) tokens, not \(tokens.count)")
        }
        var quiet = options
        quiet.dropout = 0
        quiet.lora?.dropout = 0
        let look = try TrainingPass(
            description, store: store, sequences: 1, length: tokens.count, options: quiet, adapters: adapters, pool: pool.handle)
        for (index, token) in tokens.enumerated() { look.tokens[index] = token }
        _ = try look.evaluate()
        let row = (tokens.count - 1) % ActivationMemory.headRows
        return [Float](UnsafeBufferPointer(start: look.memory.logits + row * description.vocabularySize, count: description.vocabularySize))
    }

    /// The gradient that the last step left for a tensor, before clipping; nil where there is none of that name or it is frozen.
    package func gradient(of name: String) -> [Float]? {
        guard let parameter = store.parameter(name), !parameter.frozen else { return nil }
        return [Float](UnsafeBufferPointer(start: store.gradients.base + parameter.offset, count: parameter.count))
    }

    /// Puts other weights in a tensor's place; a count that does not fit is refused.
    package func setWeights(_ values: [Float], of name: String) throws(TrainingError) {
        guard let parameter = store.parameter(name), parameter.count == values.count else {
            throw .wrongTensor(name: name, message: "is not there or does not have \(values.count) elements")
        }
        for (index, value) in values.enumerated() { store.weights.base[parameter.offset + index] = value }
    }

    /// Every tensor's name, sorted by bytes.
    package var parameterNames: [String] { store.parameters.map(\.name) }

    /// The weights of a tensor as they are, or nil where there is none of that name.
    package func weights(of name: String) -> [Float]? {
        store.parameter(name).map { [Float](UnsafeBufferPointer(start: store.weights.base + $0.offset, count: $0.count)) }
    }
}
