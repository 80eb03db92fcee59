/// A saved model as a worker reports it: what becomes a row of `checkpoints`. Its files stand in the artifact store already.
package struct CheckpointRecord: Sendable, Equatable {
    /// Training steps done.
    package var step: Int
    /// SHA-256 of the manifest, 64 hexadecimal digits: what its `uri` names.
    package var manifest: String
    /// The checkpoint digest, 64 hexadecimal digits.
    package var sha256: String
    package var tokenizerSHA256: String
    package var architecture: String
    /// How many weights the model has.
    package var parameters: Int64
    package var contextLength: Int
    /// Bytes of all its files.
    package var bytes: Int64
    /// Whether it was trained line by line, which decides `prepend_bos`.
    package var lineByLine: Bool
    /// JSON of config.json.
    package var config: [UInt8]
    package var loss: Double?
    package var averageLoss: Double?

    package init(
        step: Int, manifest: String, sha256: String, tokenizerSHA256: String, architecture: String, parameters: Int64, contextLength: Int,
        bytes: Int64, lineByLine: Bool, config: [UInt8], loss: Double? = nil, averageLoss: Double? = nil
    ) {
        self.step = step
        self.manifest = manifest
        self.sha256 = sha256
        self.tokenizerSHA256 = tokenizerSHA256
        self.architecture = architecture
        self.parameters = parameters
        self.contextLength = contextLength
        self.bytes = bytes
        self.lineByLine = lineByLine
        self.config = config
        self.loss = loss
        self.averageLoss = averageLoss
    }
}

/// One logged training step: what becomes a row of `training_steps`.
package struct TrainingStepRecord: Sendable, Equatable {
    package var step: Int
    package var loss: Double
    package var averageLoss: Double
    package var learningRate: Double
    /// The gradient's norm before clipping.
    package var gradientNorm: Double
    package var tokensPerSecond: Double

    package init(step: Int, loss: Double, averageLoss: Double, learningRate: Double, gradientNorm: Double, tokensPerSecond: Double) {
        self.step = step
        self.loss = loss
        self.averageLoss = averageLoss
        self.learningRate = learningRate
        self.gradientNorm = gradientNorm
        self.tokensPerSecond = tokensPerSecond
    }
}
