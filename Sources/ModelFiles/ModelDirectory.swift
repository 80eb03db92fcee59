package import Encodings

/// A folder as Hugging Face lays it out: `config.json`, weights, and usually a tokenizer.
///
///     let directory = try ModelDirectory.open("/models/gpt2")
///     directory.config["n_layer"]            // 12
///     directory.tensors.names.first          // "transformer.h.0.attn.c_attn.bias"
///
/// Where PEFT's two files of a LoRA adapter stand beside them, the weights are those of the adapted model.
/// Opening maps and checks the files but reads no weight. PyTorch's `.bin` files and TensorFlow checkpoints are refused
/// with a sentence that says how to go on.
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
        guard exists(folder + "/config.json") else { throw missingConfig(folder) }
        let config = try ModelConfig.read(folder + "/config.json")
        let generation = folder + "/generation_config.json"
        let generationConfig = exists(generation) ? try ModelConfig.read(generation) : nil
        var tensors = try openTensors(folder, tied: ModelConfig.isTied(config))
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
        return exists(path + "/vocab.json") && exists(path + "/merges.txt") ? path : nil
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

    private static func missingConfig(_ folder: String) -> ModelFileError {
        if exists(folder + "/checkpoint") || exists(folder + "/model.ckpt.index") {
            return ModelFileError(
                .unsupported, path: folder,
                "is a TensorFlow checkpoint, which this version does not read: convert it with transformers (convert_gpt2_original_tf_checkpoint_to_pytorch) first"
            )
        }
        return ModelFileError(.missing, path: folder, "holds no config.json, so it is no model directory")
    }

    private static func openTensors(_ folder: String, tied: Bool) throws(ModelFileError) -> TensorCollection {
        let single = folder + "/model.safetensors"
        if exists(single) { return try TensorCollection(paths: [single], tied: tied) }
        let index = folder + "/model.safetensors.index.json"
        if exists(index) { return try openShards(folder, index: index, tied: tied) }
        if exists(folder + "/pytorch_model.bin") || exists(folder + "/pytorch_model.bin.index.json") {
            throw ModelFileError(
                .unsupported, path: folder,
                "holds its weights as pytorch_model.bin, which this version does not read: save them with transformers' save_pretrained, which writes model.safetensors"
            )
        }
        throw ModelFileError(.missing, path: folder, "holds no model.safetensors")
    }

    private static func openShards(_ folder: String, index: String, tied: Bool) throws(ModelFileError) -> TensorCollection {
        guard case .object(let map) = try ModelConfig.read(index)["weight_map"] else {
            throw ModelFileError(.malformed, path: index, "has no object weight_map")
        }
        var shards: [String: [String]] = [:]
        for (tensor, value) in map {
            guard case .string(let name) = value else { throw ModelFileError(.malformed, path: index, tensor: tensor, "its file is no string") }
            guard !name.isEmpty, !name.contains("/"), name != "..", name != "." else {
                throw ModelFileError(.malformed, path: index, tensor: tensor, "its file \(name) is no plain file name")
            }
            shards[folder + "/" + name, default: []].append(tensor)
        }
        return try TensorCollection(paths: shards.keys.sorted(by: TensorNames.precedes), tied: tied, required: shards)
    }
}
