package import Encodings

extension FinetuneParameters {
    /// Writes every effective value under its name, names in canonical order, without those that are absent.
    package func write(to writer: inout some PayloadWriter) {
        let optional = [
            lineByLine == nil, header == nil, blockSize == nil, tokenizer == nil, numLayersFreeze == nil, gradientCheckpointing == nil, seed == nil,
            lora == nil,
        ]
        writer.beginMap(27 - optional.count { $0 })
        writer.member("adam_epsilon", adamEpsilon)
        writer.member("avg_loss_smoothing", avgLossSmoothing)
        writer.member("batch_size", batchSize)
        if let blockSize { writer.member("block_size", blockSize) }
        switch base {
        case .namedConfig(let name): writer.member("config", name)
        case .config(let object): writer.member("config", json: JSONValue.object(object).canonical)
        case .model: break
        }
        if case .crossTrain(let stages) = dataset {
            writer.key("cross_train")
            Self.write(stages, to: &writer)
        } else {
            writer.key("dataset")
            Self.write(Part(dataset), to: &writer)
        }
        writer.member("dropout", dropout)
        writer.member("freeze_layers", freezeLayers)
        writer.member("generate_every", generateEvery)
        writer.member("gradient_accumulation_steps", gradientAccumulationSteps)
        if let gradientCheckpointing { writer.member("gradient_checkpointing", gradientCheckpointing) }
        if let header { writer.member("header", header) }
        writer.member("learning_rate", learningRate)
        if let lineByLine { writer.member("line_by_line", lineByLine) }
        if let lora { Self.write(lora, to: &writer) }
        writer.member("max_grad_norm", maxGradNorm)
        if let model { writer.member("model", model) }
        writer.member("n_generate", nGenerate)
        if let numLayersFreeze { writer.member("num_layers_freeze", numLayersFreeze) }
        writer.member("num_steps", numSteps)
        writer.member("output", output)
        writer.member("overwrite", overwrite)
        writer.member("precision", precision.rawValue)
        writer.member("save_every", saveEvery)
        if let seed { writer.member("seed", seed) }
        if let tokenizer { writeTokenizer(tokenizer, to: &writer) }
        writer.member("warmup_steps", warmupSteps)
        writer.member("weight_decay", weightDecay)
        writer.endMap()
    }

    private static func write(_ parts: [Part], to writer: inout some PayloadWriter) {
        writer.beginArray(parts.count)
        for part in parts { write(part, to: &writer) }
        writer.endArray()
    }

    private static func write(_ part: Part, to writer: inout some PayloadWriter) {
        var isMerge = false
        if case .merge = part.dataset { isMerge = true }
        writer.beginMap(1 + [part.lineByLine != nil, part.header != nil, isMerge].count { $0 })
        if case .merge(_, let equalize) = part.dataset { writer.member("equalize", equalize) }
        if let header = part.header { writer.member("header", header) }
        if let lineByLine = part.lineByLine { writer.member("line_by_line", lineByLine) }
        switch part.dataset {
        case .name(let name): writer.member("name", name)
        case .uri(let uri): writer.member("uri", uri)
        case .text(let text): writer.member("text", text)
        case .texts(let texts): writer.member("texts", texts)
        case .merge(let parts, _), .crossTrain(let parts):
            writer.key("merge")
            write(parts, to: &writer)
        }
        writer.endMap()
    }

    private static func write(_ lora: LoRA, to writer: inout some PayloadWriter) {
        writer.key("lora")
        writer.beginMap(lora.targets == nil ? 3 : 4)
        writer.member("alpha", lora.alpha)
        writer.member("dropout", lora.dropout)
        writer.member("rank", lora.rank)
        if let targets = lora.targets { writer.member("targets", targets) }
        writer.endMap()
    }

    private func writeTokenizer(_ tokenizer: Tokenizer, to writer: inout some PayloadWriter) {
        writer.key("tokenizer")
        writer.beginMap(1)
        switch tokenizer {
        case .name(let name): writer.member("name", name)
        case .uri(let uri): writer.member("uri", uri)
        case .train(let vocabularySize, let minimumFrequency):
            writer.key("train")
            writer.beginMap(2)
            writer.member("min_frequency", minimumFrequency)
            writer.member("vocab_size", vocabularySize)
            writer.endMap()
        }
        writer.endMap()
    }

    /// Canonical JSON of every effective value.
    package var effectiveJSON: [UInt8] { JSONWriter.text { write(to: &$0) } }
}
