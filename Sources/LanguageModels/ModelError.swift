/// What is wrong with a model's files, or with what was asked of a loaded model.
package enum ModelError: Error, Sendable, Equatable, CustomStringConvertible {
    /// config.json names an architecture that no description knows.
    case unknownArchitecture(String, known: [String])
    /// A key of config.json is missing, of the wrong type or out of range.
    case badConfig(key: String, reason: String)
    /// A tensor that the architecture needs is not in the files.
    case missingTensor(String)
    /// A tensor has another shape than config.json says.
    case wrongShape(String, expected: [Int], found: [Int])
    /// The files hold a layer more than config.json configures.
    case furtherLayer(String)
    /// A fault of the tensors that may come from sizes which config.json does not name.
    indirect case assumed([String], ModelError)
    /// The files cannot be read.
    case files(String)
    /// The tokenizer has ids beyond the rows of the model's embedding.
    case tokenizerTooLarge(tokens: Int, rows: Int)
    /// A token id that the model has no row for.
    case unknownToken(Int32, rows: Int)
    /// More positions than the context holds.
    case contextExceeded(tokens: Int, context: Int)
    /// More rows, sequences or pages than the session was made for.
    case sessionFull(String)
    /// The system refused this much memory.
    case outOfMemory(byteCount: Int)
    /// A logit is not a number at this position.
    case notANumber(position: Int)

    package var description: String {
        switch self {
        case .unknownArchitecture(let name, let known):
            "config.json: the model_type '\(name)' is not supported; known are \(known.joined(separator: ", "))"
        case .badConfig(let key, let reason): "config.json: \(key) \(reason)"
        case .missingTensor(let name): "the tensor \(name) is missing from the model's files"
        case .wrongShape(let name, let expected, let found): "the tensor \(name) has the shape \(found) where config.json asks for \(expected)"
        case .furtherLayer(let name): "the tensor \(name) is of a layer behind the last one"
        case .assumed(let keys, let error):
            "\(error). config.json does not name \(keys.joined(separator: ", ")), so transformers' defaults hold: add what the model has"
        case .files(let reason): reason
        case .tokenizerTooLarge(let tokens, let rows):
            "the tokenizer has \(tokens) tokens and the model \(rows) rows: they do not belong together"
        case .unknownToken(let id, let rows): "the token id \(id) is outside the model's \(rows) rows"
        case .contextExceeded(let tokens, let context): "\(tokens) tokens do not fit into the model's context of \(context)"
        case .sessionFull(let what): "the inference session has no room for more \(what)"
        case .outOfMemory(let count): "no memory for \(count) bytes of weights: free some, or use a smaller model"
        case .notANumber(let position): "the logits at position \(position) are not numbers: the model's weights are damaged"
        }
    }
}
