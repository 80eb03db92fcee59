import DurableFiles
import Encodings

/// OpenAI's GPT-2 as published, and what gpt-2-simple writes: a TensorFlow checkpoint with `hparams.json`, `encoder.json` and
/// `vocab.bpe`, brought under the names and the config that transformers gives the same model.
struct TensorFlowGPT2 {
    /// The config.json that the folder lacks.
    let config: JSONObject
    let tensors: TensorCollection

    /// Nil where the folder holds no TensorFlow checkpoint.
    init?(folder: String) throws(ModelFileError) {
        guard let prefix = try TensorFlowGPT2.prefix(folder) else { return nil }
        config = try TensorFlowGPT2.config(folder)
        tensors = try TensorCollection(TensorFlowBundle(prefix: prefix).tensors(TensorFlowGPT2.exportName))
    }

    /// The newest checkpoint as the file `checkpoint` names it, or the only one there is.
    private static func prefix(_ folder: String) throws(ModelFileError) -> String? {
        let indices = FileTree.names(folder).filter { $0.hasSuffix(".index") }.map { String($0.dropLast(".index".count)) }
        guard exists(folder + "/checkpoint") else { return indices.count == 1 ? folder + "/" + indices[0] : nil }
        let text = String(decoding: try readSmallFile(folder + "/checkpoint", limit: 1 << 20), as: UTF8.self)
        for line in text.split(separator: "\n") where line.hasPrefix("model_checkpoint_path:") {
            let parts = line.split(separator: "\"", omittingEmptySubsequences: false)
            // The path is of the machine that saved it: only its last part means anything here.
            if parts.count >= 3, let name = parts[1].split(separator: "/").last.map(String.init), indices.contains(name) {
                return folder + "/" + name
            }
        }
        guard indices.count == 1 else {
            throw ModelFileError(.missing, path: folder + "/checkpoint", "names no checkpoint that lies beside it")
        }
        return folder + "/" + indices[0]
    }

    private static func config(_ folder: String) throws(ModelFileError) -> JSONObject {
        let path = folder + "/hparams.json"
        let parameters = try ModelConfig.read(path)
        func number(_ name: String) throws(ModelFileError) -> Int {
            guard let value = parameters[name]?.intValue, (1...(1 << 24)).contains(value) else {
                throw ModelFileError(.malformed, path: path, "has no whole number \(name)")
            }
            return Int(value)
        }
        var config = ModelConfig.gpt2(
            vocabulary: try number("n_vocab"), positions: try number("n_ctx"), width: try number("n_embd"), layers: try number("n_layer"),
            heads: try number("n_head"), dropout: 0.1, endOfText: 0)
        let end = try endOfText(folder)
        for key in ["bos_token_id", "eos_token_id"] { config[key] = end }
        return config
    }

    /// The id of the token that begins and ends a text, or null without a vocabulary that has it.
    private static func endOfText(_ folder: String) throws(ModelFileError) -> JSONValue {
        guard exists(folder + "/encoder.json") else { return .null }
        return try ModelConfig.read(folder + "/encoder.json")["<|endoftext|>"].flatMap { $0.intValue.map { .integer(Int64($0)) } } ?? .null
    }

    /// `model/h3/attn/c_attn/w` is `transformer.h.3.attn.c_attn.weight`; a `w` has a leading dimension of 1 and stands as Conv1D's.
    /// Nil for what is no weight: the step's number, the optimizer's moments.
    private static func exportName(_ name: String, _ shape: [Int]) -> (name: String, shape: [Int])? {
        var parts = name.split(separator: "/").map(String.init)
        guard parts.count >= 2, parts.removeFirst() == "model" else { return nil }
        var shape = shape
        if parts[0].hasPrefix("h"), let number = Int(parts[0].dropFirst()) { parts.replaceSubrange(0..<1, with: ["h", "\(number)"]) }
        switch parts.removeLast() {
        case "w":
            if shape.count == 3, shape[0] == 1 { shape.removeFirst() }
            parts.append("weight")
        case "g": parts.append("weight")
        case "b": parts.append("bias")
        case let last where ["wte", "wpe"].contains(last) && parts.isEmpty: parts += [last, "weight"]
        default: return nil
        }
        return ((["transformer"] + parts).joined(separator: "."), shape)
    }
}
