import Encodings

/// Finds and opens the weights of a Hugging Face directory: one file or shards, safetensors before PyTorch's.
enum WeightFiles {
    private enum Format: CaseIterable {
        case safetensors, torch

        var file: String {
            switch self {
            case .safetensors: "model.safetensors"
            case .torch: "pytorch_model.bin"
            }
        }

        func tensors(_ path: String) throws(ModelFileError) -> [StoredTensor] {
            switch self {
            case .safetensors: try SafetensorsFile(path: path).tensors
            case .torch: try TorchFile.tensors(path)
            }
        }
    }

    /// - Throws: `.missing` where there are no weights, or what is wrong with them.
    static func open(_ folder: String) throws(ModelFileError) -> TensorCollection {
        for format in Format.allCases {
            let single = folder + "/" + format.file
            if exists(single) { return try TensorCollection(format.tensors(single)) }
            if exists(single + ".index.json") { return try openShards(folder, index: single + ".index.json", format: format) }
        }
        throw ModelFileError(.missing, path: folder, "holds neither model.safetensors nor pytorch_model.bin")
    }

    private static func openShards(_ folder: String, index: String, format: Format) throws(ModelFileError) -> TensorCollection {
        var all: [StoredTensor] = []
        let shards = try shards(index)
        for (name, wanted) in shards.sorted(by: { TensorNames.precedes($0.key, $1.key) }) {
            let tensors = try format.tensors(folder + "/" + name)
            let stored = Set(tensors.map(\.info.name))
            for tensor in wanted where !stored.contains(tensor) {
                throw ModelFileError(.malformed, path: folder + "/" + name, tensor: tensor, "is not in this file, though the index says so")
            }
            all += tensors
        }
        return try TensorCollection(all)
    }

    /// The tensors that an index expects in each of its files.
    private static func shards(_ index: String) throws(ModelFileError) -> [String: [String]] {
        guard case .object(let map) = try ModelConfig.read(index)["weight_map"] else {
            throw ModelFileError(.malformed, path: index, "has no object weight_map")
        }
        var shards: [String: [String]] = [:]
        for (tensor, value) in map {
            guard case .string(let name) = value else { throw ModelFileError(.malformed, path: index, tensor: tensor, "its file is no string") }
            guard !name.isEmpty, !name.contains("/"), !name.utf8.contains(0), name != "..", name != "." else {
                throw ModelFileError(.malformed, path: index, tensor: tensor, "its file \(name) is no plain file name")
            }
            shards[name, default: []].append(tensor)
        }
        return shards
    }
}
