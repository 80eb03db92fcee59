package import ModelFiles

/// Why a training run cannot start or go on.
package enum TrainingError: Error, Equatable, CustomStringConvertible {
    /// A parameter is out of its range; `name` is the contract's.
    case option(name: String, message: String)
    /// The dataset has no block of that length followed by nothing else to learn from.
    case datasetTooShort(tokens: Int, blockSize: Int)
    /// A token is not in the model's vocabulary.
    case tokenOutOfRange(token: Int, vocabularySize: Int)
    /// A loss or gradient is no finite number: the learning rate is too high, or the weights were broken before.
    case notFinite(what: String, step: Int)
    /// A model that this version cannot train.
    case unsupported(String)
    /// The model as it is now gives no sample texts.
    case cannotSample(String)
    /// The tensors in the file are not those that the config describes.
    case wrongTensor(name: String, message: String)
    /// What lies beside a checkpoint does not belong to it or to this run.
    case cannotResume(path: String, message: String)
    /// Files.
    case files(ModelFileError)
    /// The system gave no memory.
    case outOfMemory(byteCount: Int)

    package var description: String {
        switch self {
        case .option(let name, let message): "\(name) \(message)"
        case .datasetTooShort(let tokens, let blockSize):
            "the dataset has \(tokens) tokens; blocks of \(blockSize) need at least \(blockSize + 1): add text or choose a smaller block_size"
        case .tokenOutOfRange(let token, let size): "token \(token) is not in the vocabulary of \(size): was the dataset encoded for another model?"
        case .notFinite(let what, let step): "the \(what) is no finite number at step \(step): lower learning_rate or check the base model's weights"
        case .unsupported(let message): message
        case .cannotSample(let message): "the model in training cannot be sampled: \(message)"
        case .wrongTensor(let name, let message): "tensor \(name) \(message)"
        case .cannotResume(let path, let message): "\(path): \(message)"
        case .files(let error): error.description
        case .outOfMemory(let byteCount): "no memory for \(byteCount / 1_000_000) MB: lower batch_size or block_size, or set gradient_checkpointing"
        }
    }
}
