import ArgumentParser
import Client
import Encodings
import FoundationEssentials
import Supervision

/// `scriptorium model`: the models that tasks can name.
struct ModelCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "model", abstract: "Import, pull, export and list models.",
        subcommands: [ModelImportCommand.self, ModelPullCommand.self, ModelExportCommand.self, ModelListCommand.self])
}

struct ModelImportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Store a Hugging Face directory as a model that tasks can name.",
        discussion: """
            Every file is checked before anything is stored; pytorch_model.bin and TensorFlow's checkpoints become safetensors. A name that exists then \
            means the new model. From a machine without the artifact store the files go through the broker; what was broken off goes on where it was.
            """)

    @Argument(
        help: ArgumentHelp(
            "A folder with config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.json and merges.txt), or OpenAI's checkpoint.",
            valueName: "folder"))
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
        let row = try await ModelImport.store(source, name: name, route, service)
        print(json ? row.json : ModelImport.line(row))
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
