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
    /// One a stage of training.
    let datasets: [TokenDataset]
    let tokenizer: Tokenizer
    /// Whether texts stood apart in all of the data, which decides `prepend_bos`.
    let isLineByLine: Bool
    /// A folder with the state of an earlier attempt.
    let resumeFolder: String?
    /// The folders of the cache that all this is read from: they stand as long as the finetune.
    let folders: [CachedFolder]
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
    /// What was taken from the cache so far.
    private var folders: [CachedFolder] = []

    init(task: ResolvedTask, parameters: FinetuneParameters, stop: StopFlag, workFolder: String, progress: @escaping (WorkerProgress) -> Void) {
        self.task = task
        self.parameters = parameters
        self.stop = stop
        self.workFolder = workFolder
        self.progress = progress
    }

    mutating func prepare(resume: ResumeReference?, cache: inout ArtifactCache) throws(TaskFault) -> PreparedFinetune {
        var resumeFolder: String?
        if let resume { resumeFolder = try folder(of: resume, &cache) }
        let base = try base(cache: &cache)
        let corpora = try corpora(cache: &cache)
        try check()
        let tokenizer = try tokenizer(base: base, corpora: corpora, resumeFolder: resumeFolder, cache: &cache)
        try checkIsOwn(tokenizer, of: base)
        try check()
        let datasets = try stages(corpora, tokenizer)
        try check()
        return PreparedFinetune(
            task: task, parameters: parameters, base: base, datasets: datasets, tokenizer: tokenizer,
            isLineByLine: parameters.lineByLine ?? Self.lineByLine(of: corpora) ?? task.dataset?.lineByLine ?? false,
            resumeFolder: resumeFolder, folders: folders)
    }

    /// What encoded data itself says; nil where some of it does not.
    private static func lineByLine(of corpora: [Corpus]) -> Bool? {
        var result = true
        for corpus in corpora {
            guard case .encoded(let dataset) = corpus, dataset.vocabularySize != nil else { return nil }
            result = result && dataset.settings.lineByLine
        }
        return result
    }

    /// An artifact's folder, which stands from now on.
    /// - Parameter field: the parameter that named it by its digest; nil where the service itself knew of it.
    mutating func folder(_ digest: String, field: String?, _ cache: inout ArtifactCache) throws(TaskFault) -> CachedFolder {
        let folder: CachedFolder
        do throws(TransferError) {
            folder = try cache.folder(digest, watch: watch)
        } catch { throw TaskFault(error, artifact: digest, field: field) }
        folders.append(folder)
        return folder
    }

    /// A state that is gone or damaged costs the work done, never the task; one that merely does not come now is waited for.
    private mutating func folder(of state: ResumeReference, _ cache: inout ArtifactCache) throws(TaskFault) -> String? {
        do throws(TransferError) {
            let folder = try cache.folder(state.manifest, watch: watch)
            folders.append(folder)
            return folder.path
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

    /// The ids of another tokenizer than its own mean something else to a trained model.
    private func checkIsOwn(_ tokenizer: Tokenizer, of base: PreparedFinetune.Base) throws(TaskFault) {
        guard case .directory(let directory) = base else { return }
        let isOwn: Bool
        do throws(TokenizerError) { isOwn = try directory.isTrained(with: tokenizer) } catch { throw TaskFault(error, field: "params.model") }
        guard isOwn else {
            throw .invalid("a base model is trained with its own tokenizer, and this is another one: leave it out", field: "params.tokenizer")
        }
    }

    func check() throws(TaskFault) {
        if stop.isRaised { throw .transient("stopped while it was prepared") }
    }

    private mutating func base(cache: inout ArtifactCache) throws(TaskFault) -> PreparedFinetune.Base {
        switch parameters.base {
        case .model:
            guard let model = task.model else { throw .transient("the base model was not pinned") }
            progress(WorkerProgress(phase: .loading, done: 0))
            let folder = try folder(model.manifest, field: nil, &cache).path
            do throws(ModelFileError) { return .directory(try ModelDirectory.open(folder)) } catch { throw TaskFault(error) }
        case .namedConfig(let name):
            guard let config = ModelConfig.named(name) else {
                throw .invalid("no configuration is called so; known are \(ModelConfig.names.joined(separator: ", "))", field: "params.config")
            }
            return .scratch(config)
        case .config(let config): return .scratch(config)
        }
    }

    private mutating func tokenizer(
        base: PreparedFinetune.Base, corpora: [Corpus], resumeFolder: String?, cache: inout ArtifactCache
    ) throws(TaskFault) -> Tokenizer {
        do throws(TokenizerError) {
            if let resumeFolder { return try Tokenizer.load(path: resumeFolder) }
            if case .train(let size, let frequency) = parameters.tokenizer { return try train(corpora, size, frequency) }
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

    private mutating func tokenizerPath(_ tokenizer: ResolvedTokenizer, cache: inout ArtifactCache) throws(TaskFault) -> String {
        let folder = try folder(tokenizer.sha256, field: "params.tokenizer.uri", &cache)
        return ArtifactCache.plainFile(in: folder) ?? folder.path
    }

    private func train(_ corpora: [Corpus], _ size: Int, _ frequency: Int) throws(TokenizerError) -> Tokenizer {
        var trainer = TokenizerTrainer(vocabularySize: size, minimumFrequency: frequency)
        for corpus in corpora {
            try corpus.feed(&trainer) { done, total throws(TokenizerError) in
                if stop.isRaised { throw .stopped }
                progress(WorkerProgress(phase: .encoding, done: done, total: total))
            }
        }
        return try trainer.train { done, total in progress(WorkerProgress(phase: .encoding, done: done, total: total)) }
    }
}
