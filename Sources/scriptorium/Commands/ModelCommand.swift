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
        discussion: "Every file is checked before anything is stored. A name that exists then means the new model.")

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
        let store = try service.artifactStore(artifacts)
        let path = source
        let filing = try await onThread(throwing: { try Self.store(path, in: store) })
        let row = try await service.withClient { client in
            var named = filing
            named.name = name
            return try await client.register(named)
        }
        print(json ? row.json : "\(row.name): \(row.architecture), \(row.parameters) parameters, checkpoint \(row.sha256.prefix(12))…")
    }

    /// Checks the directory and puts its files into the artifact store.
    private static func store(_ path: String, in store: String) throws -> ModelFiling {
        let model = try ModelFileCommands.inspect(path)
        guard model.tokenizer != nil else {
            throw CommandFailure.usage("\(path) has no tokenizer.json (or vocab.json and merges.txt): tasks need one")
        }
        let manifest: Manifest
        do {
            // Links are followed: a hub's cache folder is full of them.
            let names = try FileManager.default.contentsOfDirectory(atPath: path).filter(isModelFile).sorted()
            let files = names.map { (path: $0, source: URL(filePath: path + "/" + $0).resolvingSymlinksInPath().path()) }
            manifest = try ArtifactDirectory(path: store).put(files: files)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        var filing = ModelFiling(
            name: "", manifest: manifest.sha256, checkpointSHA256: model.sha256, architecture: model.description.architecture,
            parameters: Int64(model.description.parameterCount), contextLength: model.description.contextLength,
            bytes: manifest.files.reduce(0) { $0 + $1.size })
        filing.tokenizerSHA256 = model.tokenizer?.digest
        filing.lineByLine = model.directory.config["line_by_line"]?.boolValue ?? false
        filing.configJSON = String(decoding: JSONValue.object(model.directory.config).serialised, as: UTF8.self)
        return filing
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
        let store = try service.artifactStore(artifacts)
        let wanted = name
        guard let row = try await service.withClient({ try await $0.models() }).first(where: { $0.name == wanted }) else {
            throw CommandFailure.usage("there is no model \(name); `scriptorium model list` shows those that are")
        }
        let (folder, adapterAlone) = (target, adapter)
        try await onThread(throwing: { try Self.export(row, from: store, to: folder, adapterAlone: adapterAlone) })
        if json {
            let object: JSONObject = ["name": .string(row.name), "path": .string(target), "sha256": .string(row.sha256)]
            print(String(decoding: JSONValue.object(object).serialised, as: UTF8.self))
        } else {
            print("\(target): \(row.name), checkpoint \(row.sha256.prefix(12))…")
        }
    }

    private static func export(_ row: RegisteredModel, from store: String, to target: String, adapterAlone: Bool) throws {
        let files = FileManager.default
        if let entries = try? files.contentsOfDirectory(atPath: target), !entries.isEmpty {
            throw CommandFailure.usage("\(target) is not empty: name another folder")
        }
        let laidOut = target + ".parts"
        defer { try? files.removeItem(atPath: laidOut) }
        do {
            try ArtifactDirectory(path: store).materialise(String(row.uri.dropFirst("sha256:".count)), into: laidOut)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        if adapterAlone {
            try ModelFileCommands.exportAdapter(laidOut, to: target)
        } else {
            try ModelFileCommands.export(laidOut, to: target)
        }
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
