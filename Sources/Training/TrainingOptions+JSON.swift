import Encodings

extension TrainingOptions {
    /// Every value under the contract's name.
    var json: JSONObject {
        [
            "num_steps": .integer(Int64(numSteps)), "batch_size": .integer(Int64(batchSize)),
            "block_size": blockSize.map { .integer(Int64($0)) } ?? .null, "learning_rate": .real(learningRate), "weight_decay": .real(weightDecay),
            "adam_epsilon": .real(adamEpsilon), "warmup_steps": .integer(Int64(warmupSteps)), "max_grad_norm": .real(maxGradNorm),
            "gradient_accumulation_steps": .integer(Int64(gradientAccumulationSteps)), "freeze_layers": .bool(freezeLayers),
            "num_layers_freeze": .integer(Int64(numLayersFreeze)), "gradient_checkpointing": gradientCheckpointing.map { .bool($0) } ?? .null,
            "dropout": .real(dropout),
            "avg_loss_smoothing": .real(averageLossSmoothing), "seed": .string(String(seed)), "precision": .string(precision.rawValue),
            "lora": lora.map { .object($0.json) } ?? .null,
        ]
    }

    /// Nil where a member is missing or of another type.
    init?(json object: JSONObject) {
        guard let seed = object["seed"]?.stringValue.flatMap({ UInt64($0) }), let numSteps = object["num_steps"]?.intValue,
            let batchSize = object["batch_size"]?.intValue, let learningRate = object["learning_rate"]?.doubleValue,
            let weightDecay = object["weight_decay"]?.doubleValue, let adamEpsilon = object["adam_epsilon"]?.doubleValue,
            let warmupSteps = object["warmup_steps"]?.intValue, let maxGradNorm = object["max_grad_norm"]?.doubleValue,
            let accumulation = object["gradient_accumulation_steps"]?.intValue, let freezeLayers = object["freeze_layers"]?.boolValue,
            let numLayersFreeze = object["num_layers_freeze"]?.intValue,
            let dropout = object["dropout"]?.doubleValue, let smoothing = object["avg_loss_smoothing"]?.doubleValue,
            let precision = object["precision"]?.stringValue.flatMap(TrainingPrecision.init(rawValue:))
        else { return nil }
        self.init(seed: seed)
        (self.numSteps, self.batchSize, blockSize) = (numSteps, batchSize, object["block_size"]?.intValue)
        (self.learningRate, self.weightDecay, self.adamEpsilon) = (learningRate, weightDecay, adamEpsilon)
        (self.warmupSteps, self.maxGradNorm, gradientAccumulationSteps) = (warmupSteps, maxGradNorm, accumulation)
        (self.freezeLayers, self.numLayersFreeze, gradientCheckpointing) = (
            freezeLayers, numLayersFreeze, object["gradient_checkpointing"]?.boolValue
        )
        (self.dropout, averageLossSmoothing, self.precision) = (dropout, smoothing, precision)
        if let member = object["lora"], !member.isNull {
            guard let lora = member.objectValue.flatMap({ LoRAOptions(json: $0) }) else { return nil }
            self.lora = lora
        }
    }
}

extension LoRAOptions {
    var json: JSONObject {
        [
            "rank": .integer(Int64(rank)), "alpha": .real(alpha), "dropout": .real(dropout),
            "targets": targets.map { .array($0.map { .string($0) }) } ?? .null,
        ]
    }

    /// Nil where a member is missing or of another type.
    init?(json object: JSONObject) {
        guard let rank = object["rank"]?.intValue, let alpha = object["alpha"]?.doubleValue, let dropout = object["dropout"]?.doubleValue else {
            return nil
        }
        (self.rank, self.alpha, self.dropout) = (rank, alpha, dropout)
        targets = object["targets"]?.arrayValue?.compactMap(\.stringValue)
    }
}
