internal import Training

/// What shapes a training run: the names, meanings and defaults of a `finetune` task (docs/protocol.md).
public struct TrainOptions: Sendable, Equatable {
    /// The arithmetic of training's products; weights and everything else are single precision either way.
    public enum Precision: String, Sendable {
        /// Single precision.
        case float32
        /// The factors of each product are rounded to bfloat16: faster where the processor multiplies those.
        case bfloat16
    }

    /// A low-rank adapter that is trained in the model's stead: names and meanings are PEFT's.
    public struct LoRA: Sendable, Equatable {
        /// Rows of A and columns of B.
        public var rank: Int
        /// The update is multiplied by alpha / rank.
        public var alpha: Double
        /// The probability of dropping an element of what enters the adapter.
        public var dropout = 0.0
        /// Modules by the ends of their paths, such as `c_attn`; nil: what makes query and value.
        public var targets: [String]?
        /// Whether the output at the end is one model, merged, which cannot be gone on with. Else it is the base as it was, and the
        /// adapter beside it as PEFT loads it; ``TextEngine`` generates from the two merged.
        public var merged: Bool

        /// The defaults.
        public init(rank: Int = 8, alpha: Double = 8, merged: Bool = false) { (self.rank, self.alpha, self.merged) = (rank, alpha, merged) }
    }

    /// Optimizer steps, those before a resume included.
    public var numSteps = 5000
    /// Blocks in a batch.
    public var batchSize = 1
    /// Tokens in a block; nil: the context.
    public var blockSize: Int?
    /// The learning rate after warm-up, from which it falls linearly to zero.
    public var learningRate = 1e-3
    /// AdamW's weight decay.
    public var weightDecay = 0.05
    /// AdamW's epsilon.
    public var adamEpsilon = 1e-8
    /// Steps of linear warm-up.
    public var warmupSteps = 0
    /// The norm that gradients are clipped to; 0: not.
    public var maxGradNorm = 0.5
    /// Batches whose gradients add up to a step.
    public var gradientAccumulationSteps = 1
    /// Leaves the token embedding as it is, and the first ``numLayersFreeze`` blocks.
    public var freezeLayers = false
    /// With ``freezeLayers``: blocks that stay as they are.
    public var numLayersFreeze = 0
    /// Computes activations again instead of keeping them: less memory, the same bits. Nil: in models of 300 million parameters or more.
    public var gradientCheckpointing: Bool?
    /// Dropout after the embedding, on attention's weights and after projections.
    public var dropout = 0.0
    /// The newest loss's weight in the average.
    public var averageLossSmoothing = 0.01
    /// The arithmetic of the products.
    public var precision = Precision.float32
    /// An adapter to train beside ``TrainingBase/model(_:)``; nil: the model itself.
    public var lora: LoRA?
    /// Equal seeds give equal checkpoints: 0 … 2^53-1.
    public var seed: UInt64 = 0
    /// A checkpoint every so many steps; 0: at the end only.
    public var saveEvery = 1000
    /// Sample texts every so many steps, where somebody takes them; 0: none.
    public var generateEvery = 1000
    /// Sample texts each time.
    public var nGenerate = 1
    /// Goes on from the checkpoint in the output folder, where there is one that can be gone on with. Data and options must be as they
    /// were; others are refused.
    public var resume = false
    /// Each line or CSV row is a text.
    public var lineByLine = false
    /// With ``lineByLine``: the first line or row of each file is left out.
    public var header = true
    /// The directory or file of a tokenizer; nil: the model's own or, from scratch, one trained on the texts. A model is trained with no
    /// other than its own.
    public var tokenizer: String?
    /// Tokens of a tokenizer that is trained.
    public var vocabularySize = 1000
    /// How often a pair must occur to become a token of a tokenizer that is trained.
    public var minimumFrequency = 2

    /// The defaults.
    public init(numSteps: Int = 5000, seed: UInt64 = 0) { (self.numSteps, self.seed) = (numSteps, seed) }
}

extension TrainOptions {
    /// - Throws: `TrainingError.option` naming what a task would be refused for and the trainer does not see.
    func check() throws(TrainingError) {
        guard seed < 1 << 53 else { throw .option(name: "seed", message: "must be 0 to 2^53-1, not \(seed)") }
        for (name, value) in [("save_every", saveEvery), ("generate_every", generateEvery), ("n_generate", nGenerate)] where value < 0 {
            throw .option(name: name, message: "must be 0 or more, not \(value)")
        }
    }

    /// What the trainer itself is told.
    var training: TrainingOptions {
        var result = TrainingOptions(seed: seed)
        (result.numSteps, result.batchSize, result.blockSize) = (numSteps, batchSize, blockSize)
        (result.learningRate, result.weightDecay, result.adamEpsilon) = (learningRate, weightDecay, adamEpsilon)
        (result.warmupSteps, result.maxGradNorm) = (warmupSteps, maxGradNorm)
        result.gradientAccumulationSteps = gradientAccumulationSteps
        (result.freezeLayers, result.numLayersFreeze) = (freezeLayers, numLayersFreeze)
        (result.gradientCheckpointing, result.dropout, result.averageLossSmoothing) = (gradientCheckpointing, dropout, averageLossSmoothing)
        result.precision = precision == .bfloat16 ? .bfloat16 : .float32
        if let lora {
            var adapter = LoRAOptions()
            (adapter.rank, adapter.alpha, adapter.dropout, adapter.targets) = (lora.rank, lora.alpha, lora.dropout, lora.targets)
            result.lora = adapter
        }
        return result
    }
}
