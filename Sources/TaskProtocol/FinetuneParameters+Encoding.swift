package import Encodings

extension FinetuneParameters {
    /// Writes every effective value under its name, names in canonical order, without those that are absent.
    package func write(to writer: inout some PayloadWriter) {
        let optional = [
            lineByLine == nil, header == nil, blockSize == nil, tokenizer == nil, numLayersFreeze == nil, gradientCheckpointing == nil, seed == nil,
        ]
        writer.beginMap(26 - optional.count { $0 })
        writer.member("adam_epsilon", adamEpsilon)
        writer.member("avg_loss_smoothing", avgLossSmoothing)
        writer.member("batch_size", batchSize)
        if let blockSize { writer.member("block_size", blockSize) }
        switch base {
        case .namedConfig(let name): writer.member("config", name)
        case .config(let object): writer.member("config", json: JSONValue.object(object).canonical)
        case .model: break
        }
        writeDataset(to: &writer)
        writer.member("dropout", dropout)
        writer.member("freeze_layers", freezeLayers)
        writer.member("generate_every", generateEvery)
        writer.member("gradient_accumulation_steps", gradientAccumulationSteps)
        if let gradientCheckpointing { writer.member("gradient_checkpointing", gradientCheckpointing) }
        if let header { writer.member("header", header) }
        writer.member("learning_rate", learningRate)
        if let lineByLine { writer.member("line_by_line", lineByLine) }
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

    private func writeDataset(to writer: inout some PayloadWriter) {
        writer.key("dataset")
        writer.beginMap(1)
        switch dataset {
        case .name(let name): writer.member("name", name)
        case .uri(let uri): writer.member("uri", uri)
        case .text(let text): writer.member("text", text)
        case .texts(let texts): writer.member("texts", texts)
        }
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
