package import Encodings

/// A low-rank adapter as PEFT writes it: `adapter_config.json` and `adapter_model.safetensors`.
///
/// Beside a model's own files in one folder it makes a model of its own, whose weights are W + fp32(alpha / rank)·(B·A)
/// (``TensorCollection``). Kinds of LoRA that change more than this formula are refused by name.
package struct LoRAAdapter: Sendable {
    package static let configFile = "adapter_config.json"
    package static let weightsFile = "adapter_model.safetensors"
    private static let prefix = "base_model.model."

    /// Rows of A and columns of B.
    package let rank: Int
    package let alpha: Double
    /// Whether the weights that it adapts are stored [inputs][outputs] (PEFT's `fan_in_fan_out`).
    package let isInputMajor: Bool
    /// Everything in `adapter_config.json`.
    package let config: JSONObject
    /// A and B under PEFT's names.
    package let tensors: TensorCollection
    /// The adapted weights' export names, sorted by bytes.
    package let weights: [String]

    /// What B·A is multiplied by, rounded once.
    package var scale: Float { Float(alpha / Double(rank)) }

    /// The name of A, or of B, for a weight.
    package static func tensorName(_ letter: Character, of weight: String) -> String {
        let module = weight.hasSuffix(".weight") ? String(weight.dropLast(7)) : weight
        return "\(prefix)\(module).lora_\(letter).weight"
    }

    /// Reads a folder's adapter.
    /// - Throws: `.malformed` or `.unsupported` naming the file and what is wrong in it.
    package init(folder: String) throws(ModelFileError) {
        let path = folder + "/" + LoRAAdapter.configFile
        config = try ModelConfig.read(path)
        try LoRAAdapter.refuseOtherKinds(config, path: path)
        guard let rank = config["r"]?.intValue, rank > 0, let alpha = config["lora_alpha"]?.doubleValue, alpha.isFinite else {
            throw ModelFileError(.malformed, path: path, "needs r, a whole number above 0, and lora_alpha, a number")
        }
        (self.rank, self.alpha) = (rank, alpha)
        isInputMajor = config["fan_in_fan_out"]?.boolValue ?? false
        tensors = try TensorCollection.plain(path: folder + "/" + LoRAAdapter.weightsFile)
        weights = try LoRAAdapter.pairs(tensors, rank: rank, path: folder + "/" + LoRAAdapter.weightsFile)
    }

    /// Members of the config that would change what the formula says.
    private static func refuseOtherKinds(_ config: JSONObject, path: String) throws(ModelFileError) {
        guard config["peft_type"]?.stringValue == "LORA" else {
            throw ModelFileError(.unsupported, path: path, "is no LoRA adapter: peft_type must be \"LORA\"")
        }
        let flags = ["use_rslora", "use_dora", "use_qalora", "use_bdlora", "lora_bias"].filter { config[$0]?.boolValue == true }
        let maps = ["rank_pattern", "alpha_pattern"].filter { config[$0]?.objectValue?.isEmpty == false }
        let values = ["modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters"].filter {
            !(config[$0]?.isNull ?? true) && config[$0]?.arrayValue?.isEmpty != true
        }
        let bias = config["bias"]?.stringValue.map { $0 == "none" ? [] : ["bias"] } ?? []
        guard let first = (flags + maps + values + bias).first else { return }
        throw ModelFileError(.unsupported, path: path, "\(first) asks for a kind of LoRA that is not read here: merge it with PEFT first")
    }

    /// The weights that have both an A and a B of the rank, and nothing else in the file.
    private static func pairs(_ tensors: TensorCollection, rank: Int, path: String) throws(ModelFileError) -> [String] {
        var weights: [String] = []
        for name in tensors.names {
            func malformed(_ message: String) -> ModelFileError { ModelFileError(.malformed, path: path, tensor: name, message) }
            guard name.hasPrefix(prefix), name.hasSuffix(".lora_A.weight") || name.hasSuffix(".lora_B.weight"), let info = tensors.info(name),
                info.shape.count == 2
            else { throw malformed("is no matrix named \(prefix)….lora_A.weight or ….lora_B.weight") }
            let isA = name.hasSuffix(".lora_A.weight")
            guard info.shape[isA ? 0 : 1] == rank else { throw malformed("has the shape \(info.shape), which does not fit r = \(rank)") }
            let weight = String(name.dropFirst(prefix.count).dropLast(14)) + ".weight"
            guard tensors.info(tensorName(isA ? "B" : "A", of: weight)) != nil else { throw malformed("has no other half") }
            if isA { weights.append(weight) }
        }
        guard !weights.isEmpty else { throw ModelFileError(.malformed, path: path, "adapts nothing") }
        return weights.sorted(by: TensorNames.precedes)
    }
}

extension LoRAAdapter {
    /// What a file of an adapter says beside its tensors.
    package struct Header: Sendable {
        package var rank: Int
        package var alpha: Double
        package var dropout: Double
        package var targets: [String]
        package var isInputMajor: Bool
        /// What `base_model_name_or_path` says: for people and PEFT, never followed here.
        package var baseName: String?

        package init(rank: Int, alpha: Double, dropout: Double, targets: [String], isInputMajor: Bool, baseName: String?) {
            self.rank = rank
            self.alpha = alpha
            self.dropout = dropout
            self.targets = targets
            self.isInputMajor = isInputMajor
            self.baseName = baseName
        }

        fileprivate var json: JSONObject {
            [
                "alpha_pattern": .object([:]), "base_model_name_or_path": baseName.map { .string($0) } ?? .null, "bias": .string("none"),
                "fan_in_fan_out": .bool(isInputMajor), "inference_mode": .bool(true), "init_lora_weights": .bool(true),
                "lora_alpha": alpha == alpha.rounded() ? .integer(Int64(alpha)) : .real(alpha), "lora_dropout": .real(dropout),
                "modules_to_save": .null, "peft_type": .string("LORA"), "r": .integer(Int64(rank)), "rank_pattern": .object([:]),
                "target_modules": .array(targets.map { .string($0) }), "task_type": .string("CAUSAL_LM"), "use_dora": .bool(false),
                "use_rslora": .bool(false),
            ]
        }
    }

    /// Writes both files into an existing folder, each atomically, the weights first.
    package static func write(_ header: Header, tensors: [SafetensorsWriter.Tensor], into folder: String) throws(ModelFileError) {
        try SafetensorsWriter.write(tensors, to: folder + "/" + weightsFile)
        try writeModelFile(ConfigText.bytes(header.json), to: folder + "/" + configFile)
    }

    /// Writes this adapter's files into an existing folder, as they are.
    package func write(into folder: String) throws(ModelFileError) {
        try SafetensorsWriter.write(SafetensorsWriter.tensors(of: tensors), to: folder + "/" + LoRAAdapter.weightsFile)
        try writeModelFile(ConfigText.bytes(config), to: folder + "/" + LoRAAdapter.configFile)
    }
}
