import ArtifactStore
import FoundationEssentials
import Generation
import Kernels
import LanguageModels
import ModelFiles
import TaskProtocol
import Tokenizers

/// Prepares what tasks need, off the engine's thread: lays artifacts out as files, checks digests, loads models, encodes datasets.
///
/// One job at a time; it belongs to one thread.
final class Loader {
    private var cache: ArtifactCache
    private let pool: ThreadPool
    private let workFolder: String
    private let answer: (EngineCommand) -> Void
    private static let progressMilliseconds: Milliseconds = 500

    /// - Parameters:
    ///   - pool: packs weights; not the engine's.
    ///   - answer: takes what is done and how far it is.
    init(cache: ArtifactCache, pool: ThreadPool, workFolder: String, answer: @escaping (EngineCommand) -> Void) {
        self.cache = cache
        self.pool = pool
        self.workFolder = workFolder
        self.answer = answer
    }

    /// Does a job and answers it. False at the end.
    func perform(_ job: LoadJob) -> Bool {
        switch job {
        case .model(let model, let precision):
            // It may have stood behind other jobs: only now its load begins.
            answer(.modelLoading(ModelIdentity(model, precision), WorkerProgress(phase: .loading, done: 0)))
            answer(.modelLoaded(ModelIdentity(model, precision), Result { () throws(TaskFault) in try load(model, precision) }))
        case .finetune(let lease, let task, let resume, let stop):
            guard !stop.isRaised else { return true }
            answer(.finetunePrepared(lease, Result { () throws(TaskFault) in try prepare(lease, task, resume, stop) }))
        case .end: return false
        }
        return true
    }

    private func load(_ model: ResolvedModel, _ precision: Precision) throws(TaskFault) -> LoadedModel {
        let folder = try folder(of: model, precision)
        return try withExtendedLifetime(folder) { () throws(TaskFault) in try load(model, precision, from: folder.path) }
    }

    private func load(_ model: ResolvedModel, _ precision: Precision, from folder: String) throws(TaskFault) -> LoadedModel {
        let loaded: LanguageModel
        let files: ModelDirectory
        do throws(ModelFileError) { files = try ModelDirectory.open(folder) } catch { throw TaskFault(error) }
        var saidAt = MonotonicClock.milliseconds
        do throws(ModelError) {
            loaded = try LanguageModel.load(files, precision: WeightPrecision(precision), pool: pool) { [answer] share in
                let now = MonotonicClock.milliseconds
                guard now - saidAt >= Self.progressMilliseconds else { return }
                saidAt = now
                answer(.modelLoading(ModelIdentity(model, precision), WorkerProgress(phase: .loading, done: Int(share * 100), total: 100)))
            }
        } catch { throw TaskFault(error) }
        guard loaded.checkpointSHA256 == model.sha256 else {
            throw .model("the model's files have the checkpoint digest \(loaded.checkpointSHA256.prefix(12))…, not \(model.sha256.prefix(12))…")
        }
        guard let path = files.tokenizerPath else { throw .model("the model has no tokenizer beside it") }
        do throws(TokenizerError) {
            return LoadedModel(
                model: loaded, tokenizer: try Tokenizer.load(path: path), lineByLine: model.lineByLine, schema: Schema(config: files.config))
        } catch { throw TaskFault(error, field: "params.model") }
    }

    private func folder(of model: ResolvedModel, _ precision: Precision) throws(TaskFault) -> CachedFolder {
        var saidAt = MonotonicClock.milliseconds
        let watch = TransferWatch(progress: { [answer] done, total in
            let now = MonotonicClock.milliseconds
            guard now - saidAt >= Self.progressMilliseconds else { return }
            saidAt = now
            answer(.modelLoading(ModelIdentity(model, precision), WorkerProgress(phase: .loading, done: Int(done), total: Int(total))))
        })
        do throws(TransferError) {
            return try cache.folder(model.manifest, watch: watch)
        } catch { throw TaskFault(error, artifact: model.manifest) }
    }

    private func prepare(_ lease: LeaseID, _ task: ResolvedTask, _ resume: ResumeReference?, _ stop: StopFlag) throws(TaskFault) -> PreparedFinetune {
        guard case .finetune(let parameters) = task.parameters else { throw .transient("not a finetune") }
        var saidAt: Milliseconds = 0
        var preparation = FinetunePreparation(
            task: task, parameters: parameters, stop: stop, workFolder: "\(workFolder)/\(lease)",
            progress: { [answer] progress in
                let now = MonotonicClock.milliseconds
                guard now - saidAt >= Self.progressMilliseconds else { return }
                saidAt = now
                answer(.finetunePreparing(lease, progress))
            })
        return try preparation.prepare(resume: resume, cache: &cache)
    }
}
