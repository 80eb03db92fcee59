package import Encodings
package import Tokenizers

/// A folder as Hugging Face lays it out: `config.json`, weights, and usually a tokenizer.
///
///     let directory = try ModelDirectory.open("/models/gpt2")
///     directory.config["n_layer"]            // 12
///     directory.tensors.names.first          // "h.0.attn.bias", as stored
///
/// Weights are safetensors or PyTorch's `pytorch_model.bin`, each also in shards. OpenAI's TensorFlow checkpoint opens too,
/// as if it had the config.json that transformers would give it. Where PEFT's two files of a LoRA adapter stand beside them,
/// the weights are those of the adapted model. Opening maps and checks the files but reads no weight (TensorFlow's are read
/// once, against their checksums).
package struct ModelDirectory: Sendable {
    /// As given, without a trailing slash.
    package let path: String
    /// Everything in `config.json`, unknown keys too, so that it can be written again.
    package let config: JSONObject
    /// `generation_config.json`, where there is one; its token ids come before `config.json`'s.
    package let generationConfig: JSONObject?
    package let tensors: TensorCollection

    /// Opens a folder.
    /// - Throws: `ModelFileError`: `.missing` where folder, config or weights are not there, `.malformed` where they lie,
    ///   `.unsupported` for forms of weights that are not read.
    package static func open(_ path: String) throws(ModelFileError) -> ModelDirectory {
        let folder = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        guard exists(folder) else { throw ModelFileError(.missing, path: path, "does not exist") }
        guard exists(folder + "/config.json") else {
            if let checkpoint = try TensorFlowGPT2(folder: folder) {
                return ModelDirectory(path: folder, config: checkpoint.config, generationConfig: nil, tensors: checkpoint.tensors)
            }
            throw ModelFileError(.missing, path: folder, "holds neither a config.json nor a TensorFlow checkpoint, so it is no model directory")
        }
        let config = try ModelConfig.read(folder + "/config.json")
        let generation = folder + "/generation_config.json"
        let generationConfig = exists(generation) ? try ModelConfig.read(generation) : nil
        var tensors = try WeightFiles.open(folder)
        if exists(folder + "/" + LoRAAdapter.configFile) { tensors = try TensorCollection(tensors, merging: LoRAAdapter(folder: folder)) }
        return ModelDirectory(path: folder, config: config, generationConfig: generationConfig, tensors: tensors)
    }

    /// The same model without its adapter.
    package var unmerged: ModelDirectory {
        ModelDirectory(path: path, config: config, generationConfig: generationConfig, tensors: tensors.unmerged)
    }

    /// The folder or file from which the model's own tokenizer can be loaded, or nil where it has none.
    package var tokenizerPath: String? {
        if exists(path + "/tokenizer.json") { return path }
        let pairs = [("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe")]
        return pairs.contains { exists(path + "/" + $0.0) && exists(path + "/" + $0.1) } ? path : nil
    }

    /// Whether a tokenizer is the one that the model was trained with, as far as the folder tells: the ids of another mean something else to it.
    /// - Throws: `TokenizerError` where the model's own cannot be read.
    package func isTrained(with tokenizer: Tokenizer) throws(TokenizerError) -> Bool {
        guard let tokenizerPath else { return true }
        return try Tokenizer.load(path: tokenizerPath).digest == tokenizer.digest
    }

    /// Where texts begin: `generation_config.json` first, then `config.json`.
    package var bosTokenID: Int? {
        for object in [generationConfig, config] {
            if let id = object?["bos_token_id"]?.intValue { return Int(id) }
        }
        return nil
    }

    /// The tokens that end a text, in ascending order; the files may hold one number or a list.
    package var eosTokenIDs: [Int] {
        for object in [generationConfig, config] {
            switch object?["eos_token_id"] {
            case .integer(let id): return [Int(id)]
            case .array(let ids): return ids.compactMap { $0.intValue.map { Int($0) } }.sorted()
            default: continue
            }
        }
        return []
    }
}
