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
    private static let companions = [
        "tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    ]

    /// Writes this model to a new folder: one safetensors file under export names, the configs as they were, the tokenizer's files.
    ///
    /// The tensors keep their types, so the copy has the same checkpoint digest. A model with an adapter is written merged, as fp32
    /// where the adapter changed it: the bits that it is served with, under a digest of their own.
    package func export(to target: String) throws(ModelFileError) {
        try DurableFolder.write(replacing: target, failure: ModelFileError.init) { (folder: String) throws(ModelFileError) in
            try writeCopy(into: folder)
        }
    }

    /// Writes the files of ``export(to:)`` into an existing folder.
    /// - Parameter config: what stands in `config.json` instead; nil: what stood there.
    package func writeCopy(into folder: String, config: JSONObject? = nil) throws(ModelFileError) {
        var list: [SafetensorsWriter.Tensor] = []
        var merged: [UnsafeMutableBufferPointer<Float>] = []
        defer { for buffer in merged { buffer.deallocate() } }
        let changed = Set(tensors.adapter?.weights ?? [])
        for name in tensors.names {
            guard let info = tensors.info(name) else { continue }
            if changed.contains(name) {
                let buffer = UnsafeMutableBufferPointer<Float>.allocate(capacity: info.count)
                merged.append(buffer)
                if let base = buffer.baseAddress { try tensors.readFloat32(name, into: base) }
                list.append(SafetensorsWriter.Tensor(info: info, bytes: UnsafeRawBufferPointer(buffer)))
            } else {
                // The bytes stay mapped as long as `tensors` lives, which is longer than this call.
                list.append(SafetensorsWriter.Tensor(info: info, bytes: try tensors.withBytes(name) { $0 }))
            }
        }
        try withExtendedLifetime(tensors) { () throws(ModelFileError) in
            try ModelExport.writeFiles(config: config ?? self.config, generationConfig: generationConfig, tensors: list, into: folder)
        }
        for name in ModelDirectory.companions where exists(path + "/" + name) {
            try writeModelFile(readSmallFile(path + "/" + name, limit: 1 << 28), to: folder + "/" + name)
        }
    }
}
