import ArtifactStore
import Datasets
import Encodings
import FoundationEssentials
import ModelFiles
import TaskProtocol
import Tokenizers

/// Everything that a finetune needs, in memory or on this machine's disk.
struct PreparedFinetune: Sendable {
    /// Where the weights come from.
    enum Base: Sendable {
        case directory(ModelDirectory)
        case scratch(JSONObject)
    }

    let task: ResolvedTask
    let parameters: FinetuneParameters
    let base: Base
    let dataset: TokenDataset
    let tokenizer: Tokenizer
    /// A folder with the state of an earlier attempt.
    let resumeFolder: String?
}

/// Prepares a finetune off the engine's thread: lays out artifacts, trains or loads the tokenizer, encodes the text.
struct FinetunePreparation {
    let task: ResolvedTask
    let parameters: FinetuneParameters
    let stop: StopFlag
    /// A folder of this task's own, removed after its end.
    let workFolder: String
    /// Says how far it is; called seldom enough to be sent.
    let progress: (WorkerProgress) -> Void

    /// The corpus as the encoder and the tokenizer's trainer read it.
    private enum Corpus {
        case files([String])
        case texts([String])
        case encoded(TokenDataset)
    }

    func prepare(resume: ResumeReference?, cache: inout ArtifactCache) throws(TaskFault) -> PreparedFinetune {
        let resumeFolder = try resume.flatMap { state throws(TaskFault) in try folder(of: state, cache: &cache) }
        let base = try base(cache: &cache)
        let corpus = try corpus(cache: &cache)
        try check()
        let tokenizer = try tokenizer(base: base, corpus: corpus, resumeFolder: resumeFolder, cache: &cache)
        try checkIsOwn(tokenizer, of: base)
        try check()
        let dataset = try encode(corpus, tokenizer)
        try check()
        return PreparedFinetune(
            task: task, parameters: parameters, base: fitted(base, tokenizer), dataset: dataset, tokenizer: tokenizer, resumeFolder: resumeFolder)
    }

    /// The ids of another tokenizer than its own mean something else to a trained model.
    private func checkIsOwn(_ tokenizer: Tokenizer, of base: PreparedFinetune.Base) throws(TaskFault) {
        guard case .directory(let directory) = base, let path = directory.tokenizerPath else { return }
        let own: Tokenizer
        do throws(TokenizerError) { own = try Tokenizer.load(path: path) } catch { throw TaskFault(error, field: "params.model") }
        guard own.digest == tokenizer.digest else {
            throw .invalid("a base model is trained with its own tokenizer, and this is another one: leave it out", field: "params.tokenizer")
        }
    }

    /// A state that is gone or damaged costs the work done, never the task; one that merely does not come now is waited for.
    private func folder(of state: ResumeReference, cache: inout ArtifactCache) throws(TaskFault) -> String? {
        do throws(TransferError) {
            return try cache.content(of: state.manifest, watch: watch).path
        } catch {
            switch error {
            case .artifact(.missing), .artifact(.digestMismatch), .artifact(.malformedManifest), .artifact(.malformedDigest): return nil
            default: throw TaskFault(error, artifact: state.manifest)
            }
        }
    }

    /// Bytes of artifacts that come over a line are a sign of life too.
    private var watch: TransferWatch {
        TransferWatch(
            progress: { [progress] done, total in progress(WorkerProgress(phase: .loading, done: Int(done), total: Int(total))) },
            isStopped: { [stop] in stop.isRaised })
    }

    private func content(_ digest: String, field: String?, cache: inout ArtifactCache) throws(TaskFault) -> ArtifactCache.Content {
        do throws(TransferError) {
            return try cache.content(of: digest, watch: watch)
        } catch { throw TaskFault(error, artifact: digest, field: field) }
    }

    private func check() throws(TaskFault) {
        if stop.isRaised { throw .transient("stopped while it was prepared") }
    }

    private func base(cache: inout ArtifactCache) throws(TaskFault) -> PreparedFinetune.Base {
        switch parameters.base {
        case .model:
            guard let model = task.model else { throw .transient("the base model was not pinned") }
            progress(WorkerProgress(phase: .loading, done: 0))
            let folder = try content(model.manifest, field: nil, cache: &cache).path
            do throws(ModelFileError) { return .directory(try ModelDirectory.open(folder)) } catch { throw TaskFault(error) }
        case .namedConfig(let name):
            guard let config = ModelConfig.named(name) else {
                throw .invalid("no configuration is called so; known are \(ModelConfig.names.joined(separator: ", "))", field: "params.config")
            }
            return .scratch(config)
        case .config(let config): return .scratch(config)
        }
    }

    private func corpus(cache: inout ArtifactCache) throws(TaskFault) -> Corpus {
        switch parameters.dataset {
        case .text(let text):
            let path = workFolder + "/text.txt"
            do {
                try FileManager.default.createDirectory(atPath: workFolder, withIntermediateDirectories: true)
                try Data(text.utf8).write(to: URL(filePath: path))
            } catch { throw .transient("the text cannot be written: \(error)") }
            return .files([path])
        case .texts(let texts): return .texts(texts)
        case .name, .uri:
            guard let dataset = task.dataset else { throw .transient("the dataset was not pinned") }
            progress(WorkerProgress(phase: .loading, done: 0))
            return try corpus(dataset, cache: &cache)
        }
    }

    private func corpus(_ dataset: ResolvedDataset, cache: inout ArtifactCache) throws(TaskFault) -> Corpus {
        let files: [String]
        switch try content(dataset.sha256, field: "params.dataset.uri", cache: &cache) {
        case .folder(let folder):
            let names = (try? FileManager.default.subpathsOfDirectory(atPath: folder)) ?? []
            files = names.sorted().map { folder + "/" + $0 }.filter { !Self.isFolder($0) }
        case .file(let path): files = [path]
        }
        guard !files.isEmpty else { throw .invalid("the dataset has no files", field: "params.dataset") }
        guard dataset.tokenizerSHA256 != nil, files.count == 1, let encoded = try? TokenDataset.load(path: files[0]) else { return .files(files) }
        return .encoded(encoded)
    }

    private static func isFolder(_ path: String) -> Bool {
        var isFolder = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder
    }

    private func tokenizer(
        base: PreparedFinetune.Base, corpus: Corpus, resumeFolder: String?, cache: inout ArtifactCache
    ) throws(TaskFault) -> Tokenizer {
        do throws(TokenizerError) {
            if let resumeFolder { return try Tokenizer.load(path: resumeFolder) }
            if case .train(let size, let frequency) = parameters.tokenizer { return try train(corpus, size, frequency) }
        } catch { throw TaskFault(error, field: "params.tokenizer") }
        let path: String
        if let tokenizer = task.tokenizer {
            path = try tokenizerPath(tokenizer, cache: &cache)
        } else if case .directory(let directory) = base, let own = directory.tokenizerPath {
            path = own
        } else {
            throw .invalid("a tokenizer is needed: name one, or train one with {\"train\": {}}", field: "params.tokenizer")
        }
        do throws(TokenizerError) { return try Tokenizer.load(path: path) } catch { throw TaskFault(error, field: "params.tokenizer") }
    }

    private func tokenizerPath(_ tokenizer: ResolvedTokenizer, cache: inout ArtifactCache) throws(TaskFault) -> String {
        try content(tokenizer.sha256, field: "params.tokenizer.uri", cache: &cache).path
    }

    private func train(_ corpus: Corpus, _ size: Int, _ frequency: Int) throws(TokenizerError) -> Tokenizer {
        var trainer = TokenizerTrainer(vocabularySize: size, minimumFrequency: frequency)
        switch corpus {
        case .files(let files):
            for file in files {
                try trainer.feed(file: file) { done, total in progress(WorkerProgress(phase: .encoding, done: done, total: total)) }
            }
        case .texts(let texts): for text in texts { trainer.feed(text: text) }
        case .encoded: throw .unsupported(file: "dataset", problem: "it is encoded already, so no tokenizer can be trained on it")
        }
        return try trainer.train { done, total in progress(WorkerProgress(phase: .encoding, done: done, total: total)) }
    }

    private func encode(_ corpus: Corpus, _ tokenizer: Tokenizer) throws(TaskFault) -> TokenDataset {
        do throws(DatasetError) {
            switch corpus {
            case .encoded(let dataset):
                try dataset.check(tokenizer: tokenizer)
                return dataset
            case .texts(let texts): return try TokenDataset.encode(texts: texts, tokenizer: tokenizer)
            case .files(let files):
                let lineByLine = parameters.lineByLine ?? task.dataset?.lineByLine ?? false
                return try TokenDataset.encode(
                    files: files, tokenizer: tokenizer, lineByLine: lineByLine, header: lineByLine && (parameters.header ?? true)
                ) { done, total in progress(WorkerProgress(phase: .encoding, done: done, total: total)) }
            }
        } catch {
            switch error {
            case .unreadable, .unwritable, .corrupt: throw .transient(error.description)
            default: throw .invalid(error.description, field: "params.dataset")
            }
        }
    }

    /// A config to train from scratch takes the tokenizer's vocabulary, the names of its files, and how it was trained.
    private func fitted(_ base: PreparedFinetune.Base, _ tokenizer: Tokenizer) -> PreparedFinetune.Base {
        guard case .scratch(let config) = base else { return base }
        var fitted = ModelConfig.fitted(config, vocabularySize: tokenizer.vocabularySize, endOfText: tokenizer.endOfTextID)
        if parameters.lineByLine == true || task.dataset?.lineByLine == true { fitted["line_by_line"] = .bool(true) }
        return .scratch(fitted)
    }
}
