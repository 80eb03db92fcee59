import ArgumentParser
import Training

/// The flags of `train` that say how to train: the contract's finetune parameters.
struct TrainingFlags: ParsableArguments {
    @Option(help: "Tokens in a block; default the context.") var blockSize: Int?
    @Option(help: "Optimizer steps.") var numSteps = 5000
    @Option(help: "Blocks in a batch.") var batchSize = 1
    @Option(help: "The learning rate after warm-up.") var learningRate = 1e-3
    @Option(help: "AdamW's weight decay.") var weightDecay = 0.05
    @Option(help: "AdamW's epsilon.") var adamEpsilon = 1e-8
    @Option(help: "Steps of linear warm-up.") var warmupSteps = 0
    @Option(help: "The norm that gradients are clipped to; 0: not.") var maxGradNorm = 0.5
    @Option(help: "Batches whose gradients add up to a step.") var gradientAccumulationSteps = 1
    @Flag(help: "Leaves the token embedding as it is.") var freezeLayers = false
    @Option(help: "With --freeze-layers, leaves so many first blocks as they are.") var numLayersFreeze = 0
    @Flag(
        inversion: .prefixedNo,
        help: "Computes activations again instead of keeping them: less memory, same bits; default: in models of 300 million parameters or more.")
    var gradientCheckpointing: Bool?
    @Option(help: "Dropout after the embedding, on attention's weights and after projections.") var dropout = 0.0
    @Option(help: "The newest loss's weight in the average.") var avgLossSmoothing = 0.01
    @Option(help: "float32 or bfloat16: the arithmetic of the products; weights stay float32.") var precision = TrainingPrecision.float32
    @Flag(help: "Trains a LoRA adapter beside the model, as PEFT loads it; what is generated from is the two merged.") var lora = false
    @Option(help: "Rows of A and columns of B (implies --lora, as do the next three).") var loraRank: Int?
    @Option(help: "The update is multiplied by alpha / rank; default 8, as the rank.") var loraAlpha: Double?
    @Option(help: "Dropout of what enters the adapter.") var loraDropout: Double?
    @Option(
        help: ArgumentHelp("Modules by the ends of their paths, with commas; default: what makes query and value.", valueName: "names"))
    var loraTargets: String?

    /// What the flags say.
    func options(seed: UInt64) -> TrainingOptions {
        var options = TrainingOptions(seed: seed)
        (options.numSteps, options.batchSize, options.blockSize) = (numSteps, batchSize, blockSize)
        (options.learningRate, options.weightDecay, options.adamEpsilon) = (learningRate, weightDecay, adamEpsilon)
        (options.warmupSteps, options.maxGradNorm) = (warmupSteps, maxGradNorm)
        options.gradientAccumulationSteps = gradientAccumulationSteps
        (options.freezeLayers, options.numLayersFreeze) = (freezeLayers, numLayersFreeze)
        (options.gradientCheckpointing, options.dropout, options.averageLossSmoothing) = (gradientCheckpointing, dropout, avgLossSmoothing)
        (options.precision, options.lora) = (precision, adapter)
        return options
    }

    private var adapter: LoRAOptions? {
        guard lora || loraRank != nil || loraAlpha != nil || loraDropout != nil || loraTargets != nil else { return nil }
        var adapter = LoRAOptions()
        (adapter.rank, adapter.alpha, adapter.dropout) = (loraRank ?? adapter.rank, loraAlpha ?? adapter.alpha, loraDropout ?? adapter.dropout)
        adapter.targets = loraTargets.map { $0.split(separator: ",").map(String.init) }
        return adapter
    }
}

extension TrainingPrecision: ExpressibleByArgument {}
