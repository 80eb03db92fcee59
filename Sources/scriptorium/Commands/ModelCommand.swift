import ArgumentParser
import ArtifactStore
import Client
import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import Supervision
import Tokenizers

/// `scriptorium model`: the models that tasks can name.
struct ModelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Import, export and list models.",
        subcommands: [ModelImportCommand.self, ModelExportCommand.self, ModelListCommand.self])
}

struct ModelImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Store a Hugging Face directory as a model that tasks can name.",
        discussion: """
            Every file is checked before anything is stored. A name that exists then means the new model. From a machine without the artifact store \
            the files go through the broker; what was broken off goes on where it was.
            """)

    @Argument(
        help: ArgumentHelp("A folder with config.json, model.safetensors and tokenizer.json (or vocab.json and merges.txt).", valueName: "folder"))
    var source: String

    @Option(help: "The name for tasks.")
    var name: String

    @Option(help: ArgumentHelp("The artifact store, where it is not the one of `scriptorium up`.", valueName: "folder"))
    var artifacts: String?

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Print the stored row as JSON.")
    var json = false

    func run() async throws {
        let route = try service.artifactRoute(artifacts)
        let path = source
        let checked = try await onThread(throwing: { try Self.check(path) })
        let row = try await service.withClient { client in
            let stored = try await route.put(checked.files, client)
            return try await client.register(checked.filing(name: name, stored))
        }
        print(json ? row.json : "\(row.name): \(row.architecture), \(row.parameters) parameters, checkpoint \(row.sha256.prefix(12))…")
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

    private static func check(_ path: String) throws -> Checked {
        let model = try ModelFileCommands.inspect(path)
        guard let tokenizer = model.tokenizer else {
            throw CommandFailure.usage("\(path) has no tokenizer.json (or vocab.json and merges.txt): tasks need one")
        }
        let names: [String]
        do { names = try FileManager.default.contentsOfDirectory(atPath: path) } catch { throw CommandFailure.usage("\(error)") }
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
        let others = ["merges.txt", "vocab.json"]
        let names = [
            "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "adapter_config.json",
        ]
        return !path.contains("/")
            && (names.contains(path) || others.contains(path) || path.hasSuffix(".safetensors") || path.hasSuffix(".safetensors.index.json"))
    }
}

struct ModelExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write a model as a Hugging Face directory that transformers loads.")

    @Argument(help: "The model's name.")
    var name: String

    @Argument(help: ArgumentHelp("A folder that is empty or not there yet.", valueName: "folder"))
    var target: String

    @Option(help: ArgumentHelp("The artifact store, where it is not the one of `scriptorium up`.", valueName: "folder"))
    var artifacts: String?

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Write a LoRA model's adapter alone, as PEFT loads it; without this flag base and adapter are written merged.")
    var adapter = false

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        let route = try service.artifactRoute(artifacts)
        try Self.requireEmpty(target)
        let parts = target + ".parts"
        defer { try? FileManager.default.removeItem(atPath: parts) }
        let row = try await service.withClient { client in
            guard let row = try await client.models().first(where: { $0.name == name }) else {
                throw CommandFailure.usage("there is no model \(name); `scriptorium model list` shows those that are")
            }
            try await route.fetch(manifest: String(row.uri.dropFirst("sha256:".count)), into: parts, client)
            return row
        }
        let (folder, adapterAlone) = (target, adapter)
        try await onThread(throwing: {
            if adapterAlone { try ModelFileCommands.exportAdapter(parts, to: folder) } else { try ModelFileCommands.export(parts, to: folder) }
        })
        if json {
            let object: JSONObject = ["name": .string(row.name), "path": .string(target), "sha256": .string(row.sha256)]
            print(String(decoding: JSONValue.object(object).serialised, as: UTF8.self))
        } else {
            print("\(target): \(row.name), checkpoint \(row.sha256.prefix(12))…")
        }
    }

    private static func requireEmpty(_ target: String) throws {
        guard let entries = try? FileManager.default.contentsOfDirectory(atPath: target), !entries.isEmpty else { return }
        throw CommandFailure.usage("\(target) is not empty: name another folder")
    }
}

struct ModelListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the models that tasks can name.")

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Print one JSON object a line.")
    var json = false

    func run() async throws {
        let rows = try await service.withClient { try await $0.models() }
        if json {
            for row in rows { print(row.json) }
            return
        }
        print(
            TextTable(
                columns: [.left("name"), .left("architecture"), .right("parameters"), .right("context"), .left("checkpoint")],
                rows: rows.map { [$0.name, $0.architecture, "\($0.parameters)", "\($0.contextLength)", String($0.sha256.prefix(12))] }
            ).text)
    }
}
