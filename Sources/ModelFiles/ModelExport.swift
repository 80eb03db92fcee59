import DurableFiles
package import Encodings

/// Writes model directories that transformers loads.
package enum ModelExport {
    /// Writes `config.json`, `generation_config.json` and `model.safetensors` into an existing folder, each atomically, the weights first.
    package static func writeFiles(
        config: JSONObject, generationConfig: JSONObject?, tensors: [SafetensorsWriter.Tensor], into folder: String
    ) throws(ModelFileError) {
        try SafetensorsWriter.write(tensors, to: folder + "/model.safetensors")
        if let generationConfig { try writeModelFile(ConfigText.bytes(generationConfig), to: folder + "/generation_config.json") }
        try writeModelFile(ConfigText.bytes(config), to: folder + "/config.json")
    }
}

extension ModelDirectory {
    /// The other files of a model directory that travel with it.
    static let companions = [
        "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    ]

    /// OpenAI's names for two of them.
    private static let renamed = ["encoder.json": "vocab.json", "vocab.bpe": "merges.txt"]

    /// Writes this model to a new folder: one safetensors file, the configs as they were, the tokenizer's files. Where a model's folder stood
    /// there, what was no file of a checkpoint stays.
    ///
    /// The tensors keep their types, so the copy has the same checkpoint digest. A model with an adapter is written merged, as fp32
    /// where the adapter changed it: the bits that it is served with, under a digest of their own.
    /// - Parameters:
    ///   - weights: the tensors to write, under export names; nil: all that the folder holds, under the names that they have there.
    ///   - completing: adds to the folder before it appears.
    package func export(
        to target: String, weights: TensorCollection? = nil,
        completing: (_ folder: String) throws(ModelFileError) -> Void = { _ throws(ModelFileError) in }
    ) throws(ModelFileError) {
        try DurableFolder.write(replacing: target, keeping: CheckpointFolder.isForeign, failure: ModelFileError.init) {
            (folder: String) throws(ModelFileError) in
            try writeCopy(weights, into: folder)
            try completing(folder)
        }
    }

    /// Writes the files of ``export(to:weights:completing:)`` into an existing folder, one tensor after another.
    /// - Parameter config: what stands in `config.json` instead; nil: what stood there, of a merged model that it is stored as fp32.
    package func writeCopy(_ weights: TensorCollection? = nil, into folder: String, config: JSONObject? = nil) throws(ModelFileError) {
        let weights = weights ?? tensors
        let own = weights.adapter == nil ? self.config : ModelConfig.storedAsFloat32(self.config)
        try ModelExport.writeFiles(
            config: config ?? own, generationConfig: generationConfig, tensors: SafetensorsWriter.tensors(of: weights), into: folder)
        for name in ModelDirectory.companions + ModelDirectory.renamed.keys.sorted() where exists(path + "/" + name) {
            let target = ModelDirectory.renamed[name] ?? name
            if target != name && exists(path + "/" + target) { continue }
            try writeModelFile(readSmallFile(path + "/" + name, limit: 1 << 28), to: folder + "/" + target)
        }
    }
}
