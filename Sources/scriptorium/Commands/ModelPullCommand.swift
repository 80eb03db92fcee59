import ArgumentParser
import Client
import Downloads
import DurableFiles
import Encodings
import FoundationEssentials
import Supervision
import TaskProtocol

struct ModelPullCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pull", abstract: "Fetch a model from a hub and store it as a model that tasks can name.",
        discussion: """
            NAME is the hub's: gpt2, or OWNER/NAME. Fetched are the configs, the tokenizer and the weights (model.safetensors, else pytorch_model.bin), \
            each checked against the digest that the hub announces. What was broken off goes on where it was. HF_TOKEN, where set, is shown to the hub \
            and to no other host. With --output nothing is stored and no service is needed.
            """)

    @Argument(help: ArgumentHelp("The model's name on the hub.", valueName: "name"))
    var model: String

    @Option(help: "The name for tasks; without it the last part of the hub's.")
    var name: String?

    @Option(help: "A branch, a tag or a commit.")
    var revision = "main"

    @Option(help: ArgumentHelp("The hub's address. Without it HF_ENDPOINT, else https://huggingface.co.", valueName: "url"))
    var hub: String?

    @Option(help: ArgumentHelp("Write the model into this folder, which is empty or not there yet, and store nothing.", valueName: "folder"))
    var output: String?

    @Option(help: ArgumentHelp("The artifact store, where it is not the one of `scriptorium up`.", valueName: "folder"))
    var artifacts: String?

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Print one JSON object.")
    var json = false

    func run() async throws {
        if let output {
            let folder = try Self.folder(output)
            report(try await fetch(into: folder), path: folder, row: nil)
            return
        }
        let local = name ?? String(model.split(separator: "/").last ?? "")
        guard Names.isName(local) else { throw CommandFailure.usage("--name: \(local) is no name for a model (letters, digits, '.', '_' and '-')") }
        // Ask before half a gigabyte comes whether it can be stored at all.
        let route = try service.artifactRoute(artifacts)
        _ = try await service.withClient { try await $0.models() }
        let folder = try Self.folder(Self.cache(for: model))
        let pulled = try await fetch(into: folder)
        let row = try await ModelImport.store(folder, name: local, route, service)
        FileTree.remove(folder)
        report(pulled, path: nil, row: row)
    }

    private func report(_ pulled: Pulled, path: String?, row: RegisteredModel?) {
        guard json else {
            print(row.map { ModelImport.line($0) } ?? "\(path ?? ""): \(pulled.model.name), commit \(pulled.model.commit.prefix(12))")
            return
        }
        let files = pulled.files.map { file in
            JSONValue.object([
                "path": .string(file.name), "bytes": file.remote.size.map { .integer(Int64($0)) } ?? .null,
                "checked": .string(file.remote.check.rawValue),
                "digest": file.remote.digest.isEmpty ? .null : .string(file.remote.digest),
            ])
        }
        var object: JSONObject = ["hub": .string(pulled.model.name), "commit": .string(pulled.model.commit), "files": .array(files)]
        if let path { object["path"] = .string(path) }
        if let row, let stored = try? JSONValue.parse(row.json) { object["model"] = stored }
        print(String(decoding: JSONValue.object(object).serialised, as: UTF8.self))
    }

    // MARK: Fetching

    private struct Pulled: Sendable {
        let model: ModelHub.Model
        let files: [ModelHub.FetchedFile]
    }

    private func fetch(into folder: String) async throws -> Pulled {
        let environment = ProcessInfo.processInfo.environment
        func set(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        let address = hub ?? set("HF_ENDPOINT") ?? "https://huggingface.co"
        let (model, revision, token) = (model, revision, set("HF_TOKEN"))
        guard token?.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) ?? true else {
            throw CommandFailure.usage("HF_TOKEN holds a character that no token has (a line end?)")
        }
        return try await onThread(throwing: {
            do throws(DownloadError) {
                let hub = ModelHub(base: try WebAddress(address), downloader: Downloader(token: token))
                let found = try hub.model(model, revision: revision)
                let bars = FileBars()
                defer { bars.finish() }
                return Pulled(model: found, files: try hub.fetch(found, into: folder) { bars.update($0, $1, of: $2) })
            } catch { throw CommandFailure(error) }
        })
    }

    /// An existing folder that holds nothing but what an earlier pull left.
    private static func folder(_ path: String) throws -> String {
        do throws(FileError) { try FileTree.makeFolders(path) } catch { throw CommandFailure.usage("\(error)") }
        guard FileTree.names(path).allSatisfy({ $0.hasSuffix(".part") || isModelFile($0) }) else {
            throw CommandFailure.usage("\(path) holds other files: name another folder")
        }
        return path
    }

    /// Where a model's files grow until they are stored.
    private static func cache(for model: String) -> String {
        let environment = ProcessInfo.processInfo.environment
        let cache = environment["XDG_CACHE_HOME"].flatMap { $0.hasPrefix("/") ? $0 : nil } ?? (environment["HOME"] ?? ".") + "/.cache"
        return cache + "/scriptorium/hub/" + model.split(separator: "/").joined(separator: "--")
    }

    private static func isModelFile(_ name: String) -> Bool {
        [".json", ".safetensors", ".bin"].contains { name.hasSuffix($0) } || name == "merges.txt"
    }
}

/// A progress bar for each file in turn.
private final class FileBars {
    private var bar: TransferBar?
    private var file = ""

    func update(_ name: String, _ done: Int, of total: Int) {
        if name != file {
            bar?.finish()
            (bar, file) = (TransferBar(name), name)
        }
        bar?.update(Int64(done), of: Int64(total))
    }

    func finish() { bar?.finish() }
}

extension CommandFailure {
    init(_ error: DownloadError) {
        switch error {
        case .unreachable: self = .unavailable(error.description)
        case .badAddress, .notFound, .denied: self = .usage(error.description)
        default: self = .failed(error.description)
        }
    }
}
