/// What a step of training reports.
package struct TrainingStep: Sendable, Equatable {
    /// Steps done, this one included.
    package let step: Int
    /// The mean loss of the labelled tokens, before the step.
    package let loss: Double
    /// The exponential average of the losses so far.
    package let averageLoss: Double
    /// The rate that this step used.
    package let learningRate: Double
    /// The gradient's global norm before clipping.
    package let gradientNorm: Double
    /// Tokens of the step by the time it took.
    package let tokensPerSecond: Double
}

/// A checkpoint that was written.
package struct SavedCheckpoint: Sendable, Equatable {
    package let path: String
    package let step: Int
    /// The checkpoint digest (reproducibility.md 13).
    package let sha256: String
    /// Bytes of its weights.
    package let byteCount: Int
}
