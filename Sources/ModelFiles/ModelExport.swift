package import Encodings

/// Writes model directories that transformers loads.
package enum ModelExport {
    /// Writes `config.json`, `generation_config.json` and `model.safetensors` into an existing folder, each atomically, the weights first.
    package static func writeFiles(
        config: JSONObject, generationConfig: JSONObject?, tensors: [SafetensorsWriter.Tensor], into folder: String
    ) throws(ModelFileError) {
        try SafetensorsWriter.write(tensors, to: folder + "/model.safetensors")
        if let generationConfig {
            try DurableFile.write(ConfigText.bytes(generationConfig), to: folder + "/generation_config.json")
        }
        try DurableFile.write(ConfigText.bytes(config), to: folder + "/config.json")
    }
}

extension ModelDirectory {
    /// The other files of a model directory that travel with it.
    private static let companions = [
        "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    ]

    /// OpenAI's names for two of them.
    private static let renamed = ["encoder.json": "vocab.json", "vocab.bpe": "merges.txt"]

    /// Writes this model to a new folder: one safetensors file, the configs as they were, the tokenizer's files.
    ///
    /// The tensors keep their types, so the copy has the same checkpoint digest.
    /// - Parameters:
    ///   - weights: the tensors to write, under export names.
    ///   - completing: adds to the folder before it appears.
    package func export(
        to target: String, weights: TensorCollection, completing: (_ folder: String) throws(ModelFileError) -> Void = { _ throws(ModelFileError) in }
    ) throws(ModelFileError) {
        try DurableFile.writeDirectory(target) { (folder: String) throws(ModelFileError) in
            try writeCopy(weights, into: folder)
            try completing(folder)
        }
    }

    private func writeCopy(_ weights: TensorCollection, into folder: String) throws(ModelFileError) {
        let list = weights.names.compactMap { weights.info($0) }.map { SafetensorsWriter.Tensor($0, of: weights) }
        try ModelExport.writeFiles(config: config, generationConfig: generationConfig, tensors: list, into: folder)
        for name in ModelDirectory.companions + ModelDirectory.renamed.keys.sorted() where exists(path + "/" + name) {
            let target = ModelDirectory.renamed[name] ?? name
            if target != name && exists(path + "/" + target) { continue }
            try DurableFile.write(readSmallFile(path + "/" + name, limit: 1 << 28), to: folder + "/" + target)
        }
    }
}
