import ArtifactStore
import Client
import DurableFiles
import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import Supervision
import Tokenizers

/// Checks a model directory and stores it: what `model import` and `model pull` share.
enum ModelImport {
    /// Stores a folder under a name. Weights of another format than safetensors are stored as safetensors, with the same checkpoint digest.
    static func store(_ path: String, name: String, _ route: ArtifactRoute, _ service: ServiceOptions) async throws -> RegisteredModel {
        let scratch = FileManager.default.temporaryDirectory.path() + "/scriptorium-import-" + UUID().uuidString
        defer { FileTree.remove(scratch) }
        let checked = try await onThread(throwing: { try check(path, scratch: scratch) })
        return try await service.withClient { client in
            let stored = try await route.put(checked.files, client)
            return try await client.register(checked.filing(name: name, stored))
        }
    }

    /// What is said of a stored model.
    static func line(_ row: RegisteredModel) -> String {
        "\(row.name): \(row.architecture), \(row.parameters) parameters, checkpoint \(row.sha256.prefix(12))…"
    }

    /// A model directory in which everything is as it should be.
    private struct Checked: Sendable {
        let files: [ArtifactFile]
        let checkpointSHA256: String
        let tokenizerSHA256: String
        let architecture: String
        let parameters: Int64
        let contextLength: Int
        let lineByLine: Bool
        let configJSON: String

        func filing(name: String, _ stored: StoredArtifact) -> ModelFiling {
            var filing = ModelFiling(
                name: name, manifest: stored.sha256, checkpointSHA256: checkpointSHA256, architecture: architecture, parameters: parameters,
                contextLength: contextLength, bytes: stored.bytes)
            filing.tokenizerSHA256 = tokenizerSHA256
            filing.lineByLine = lineByLine
            filing.configJSON = configJSON
            return filing
        }
    }

    /// - Parameter scratch: a path that is not there, for a converted copy.
    private static func check(_ path: String, scratch: String) throws -> Checked {
        let model = try ModelFileCommands.inspect(path)
        guard let tokenizer = model.tokenizer else {
            throw CommandFailure.usage("\(path) has no tokenizer.json (or vocab.json and merges.txt): tasks need one")
        }
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch { throw CommandFailure.usage("\(error)") }
        guard names.contains("model.safetensors") || names.contains("model.safetensors.index.json") else {
            try ModelFileCommands.export(model, to: scratch)
            return try check(scratch, scratch: scratch)
        }
        // Links are followed: a hub's cache folder is full of them.
        let files = names.filter(isModelFile).sorted().map {
            ArtifactFile(path: $0, source: URL(filePath: path + "/" + $0).resolvingSymlinksInPath().path())
        }
        return Checked(
            files: files, checkpointSHA256: model.sha256, tokenizerSHA256: tokenizer.digest, architecture: model.description.architecture,
            parameters: Int64(model.description.parameterCount), contextLength: model.description.contextLength,
            lineByLine: model.directory.config["line_by_line"]?.boolValue ?? false,
            configJSON: String(decoding: JSONValue.object(model.directory.config).serialised, as: UTF8.self))
    }

    /// The files of a Hugging Face directory that a model is made of, at its top.
    private static func isModelFile(_ path: String) -> Bool {
        let names = [
            "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "adapter_config.json",
            "added_tokens.json", "merges.txt", "vocab.json", "encoder.json", "vocab.bpe",
        ]
        return names.contains(path) || path.hasSuffix(".safetensors") || path.hasSuffix(".safetensors.index.json")
    }
}
