import ArtifactStore
import Datasets
import Encodings
import FoundationEssentials
import Generation
import Kernels
import LanguageModels
import ModelFiles
import TaskProtocol
import Tokenizers
import Training

/// One finetune in the engine: it trains one step a turn, so that between any two the engine looks at its mail.
///
/// What must happen after a step (a checkpoint, samples, the end) is decided there and done in the turns that follow.
final class FinetuneRun {
    let lease: LeaseID
    private let parameters: FinetuneParameters
    private let prepared: PreparedFinetune
    private let trainer: Trainer
    private let pool: ThreadPool
    private let checkpoints: CheckpointStore
    private let isUnwanted: () -> Bool
    private let report: (EngineReport) -> Void
    private var sampling: SamplingRun?
    private var lastLoss: Double?
    private var tokensPerSecond: Double?
    private var savedStep = -1
    private var savedAt: Milliseconds
    private var saidAt: Milliseconds = .min / 2
    private static let saveMilliseconds: Milliseconds = 300_000
    private static let progressMilliseconds: Milliseconds = 250
    private static let savingProgressMilliseconds: Milliseconds = 1000

    /// How a turn ended.
    enum Outcome { case goesOn, ended }

    init(
        lease: LeaseID, prepared: PreparedFinetune, pool: ThreadPool, checkpoints: CheckpointStore, now: Milliseconds,
        isUnwanted: @escaping () -> Bool = { false }, report: @escaping (EngineReport) -> Void
    ) throws(TaskFault) {
        self.lease = lease
        self.prepared = prepared
        self.pool = pool
        self.checkpoints = checkpoints
        self.isUnwanted = isUnwanted
        self.report = report
        parameters = prepared.parameters
        savedAt = now
        do throws(TrainingError) {
            trainer = try Self.trainer(prepared, pool: pool)
        } catch { throw TaskFault(error) }
        report(.started(lease))
    }

    /// Tokens that a step learns from.
    var tokensPerStep: Int { trainer.tokensPerStep }

    /// One step of training or of a sample.
    func turn(now: Milliseconds) -> Outcome {
        do throws(TaskFault) {
            if sampling != nil {
                try sampleOn()
            } else if trainer.stepsDone < parameters.numSteps {
                try train(now: now)
            } else {
                return try finish(now: now)
            }
            return .goesOn
        } catch {
            report(error.report(lease))
            return .ended
        }
    }

    /// Stops between two steps. Where another attempt follows, the state is saved for it first.
    func stop(_ reason: StopReason) {
        guard reason == .draining || reason == .timedOut, trainer.stepsDone > 0,
            let saved = try? checkpoints.save(trainer, loss: lastLoss, watch: savingWatch())
        else {
            return report(.stopped(lease, resume: nil))
        }
        if reason == .timedOut { report(.checkpoint(lease, step: trainer.stepsDone, record: nil, resume: saved.resume.json)) }
        report(.stopped(lease, resume: saved.resume.json))
    }

    private func train(now: Milliseconds) throws(TaskFault) {
        let step: TrainingStep
        do throws(TrainingError) { step = try trainer.step() } catch { throw TaskFault(error) }
        lastLoss = step.loss
        tokensPerSecond = step.tokensPerSecond
        let isLast = step.step >= parameters.numSteps
        if now - saidAt >= Self.progressMilliseconds || isLast || step.step == 1 { say(step, now: now) }
        if isDue(every: parameters.saveEvery, step.step), !isLast { try save(now: now, withRecord: true) }
        if now - savedAt >= Self.saveMilliseconds, !isLast { try save(now: now, withRecord: false) }
        if isDue(every: parameters.generateEvery, step.step), parameters.nGenerate > 0 { try beginSampling() }
    }

    private func isDue(every interval: Int, _ step: Int) -> Bool { interval > 0 && step % interval == 0 }

    private func say(_ step: TrainingStep, now: Milliseconds) {
        saidAt = now
        let progress = WorkerProgress(
            phase: .training, done: step.step, total: parameters.numSteps, loss: step.loss, averageLoss: step.averageLoss,
            tokensPerSecond: step.tokensPerSecond)
        let record = TrainingStepRecord(
            step: step.step, loss: step.loss, averageLoss: step.averageLoss, learningRate: step.learningRate, gradientNorm: step.gradientNorm,
            tokensPerSecond: step.tokensPerSecond)
        report(.progress(lease, progress, steps: [record]))
    }

    /// Saves the state of now; where nobody wants it any more nothing is reported, as the stop that is on its way will be answered.
    private func save(now: Milliseconds, withRecord: Bool) throws(TaskFault) {
        report(
            .progress(
                lease,
                WorkerProgress(phase: .saving, done: trainer.stepsDone, total: parameters.numSteps, loss: lastLoss, averageLoss: trainer.averageLoss),
                steps: []))
        savedAt = now
        guard let saved = try checkpoints.save(trainer, loss: lastLoss, watch: savingWatch()) else { return }
        if withRecord { savedStep = trainer.stepsDone }
        report(.checkpoint(lease, step: trainer.stepsDone, record: withRecord ? saved.record : nil, resume: saved.resume.json))
    }

    /// Says how many bytes of a state are stored, as a sign of life.
    private func savingWatch() -> TransferWatch {
        var saidAt = MonotonicClock.milliseconds
        return TransferWatch(
            progress: { [lease, report, lastLoss, trainer] done, total in
                let now = MonotonicClock.milliseconds
                guard now - saidAt >= Self.savingProgressMilliseconds else { return }
                saidAt = now
                let progress = WorkerProgress(
                    phase: .saving, done: Int(done), total: Int(total), loss: lastLoss, averageLoss: trainer.averageLoss)
                report(.progress(lease, progress, steps: []))
            }, isStopped: isUnwanted)
    }

    private func finish(now: Milliseconds) throws(TaskFault) -> Outcome {
        if savedStep != trainer.stepsDone { try save(now: now, withRecord: true) }
        guard savedStep == trainer.stepsDone else { return .goesOn }
        let result: JSONObject = [
            "average_loss": trainer.averageLoss.map { .real($0) } ?? .null, "final_loss": lastLoss.map { .real($0) } ?? .null,
            "steps": .integer(Int64(trainer.stepsDone)), "tokens_per_second": tokensPerSecond.map { .real($0) } ?? .null,
        ]
        report(.finished(lease, generations: [], result: JSONValue.object(result).canonical))
        return .ended
    }

    // MARK: Samples

    private func beginSampling() throws(TaskFault) {
        sampling = try SamplingRun(trainer: trainer, prepared: prepared, folder: checkpoints.workFolder + "/sampling", pool: pool)
    }

    private func sampleOn() throws(TaskFault) {
        guard let run = sampling else { return }
        let events = run.step(atStep: trainer.stepsDone)
        if !events.isEmpty { report(.events(lease, events)) }
        if run.isDone { sampling = nil }
    }

    private static func trainer(_ prepared: PreparedFinetune, pool: ThreadPool) throws(TrainingError) -> Trainer {
        let options = TrainingOptions(prepared.parameters, seed: prepared.task.seed)
        if let folder = prepared.resumeFolder,
            let trainer = try? Trainer.resume(directory: folder, dataset: prepared.dataset, options: options, pool: pool)
        {
            return trainer
        }
        let source: Trainer.Source
        switch prepared.base {
        case .directory(let directory): source = .directory(directory)
        case .scratch(let config): source = .scratch(config: config, seed: options.seed)
        }
        return try Trainer(model: source, dataset: prepared.dataset, options: options, pool: pool)
    }
}

extension TrainingOptions {
    init(_ parameters: FinetuneParameters, seed: Int64) {
        self.init(seed: UInt64(clamping: seed))
        numSteps = parameters.numSteps
        batchSize = parameters.batchSize
        blockSize = parameters.blockSize
        learningRate = parameters.learningRate
        weightDecay = parameters.weightDecay
        adamEpsilon = parameters.adamEpsilon
        warmupSteps = parameters.warmupSteps
        maxGradNorm = parameters.maxGradNorm
        gradientAccumulationSteps = parameters.gradientAccumulationSteps
        freezeLayers = parameters.freezeLayers
        numLayersFreeze = parameters.numLayersFreeze ?? 0
        gradientCheckpointing = parameters.gradientCheckpointing ?? false
        dropout = parameters.dropout
        averageLossSmoothing = parameters.avgLossSmoothing
    }
}

/// Sample texts of a model in training, for those who watch: its weights of now, run by the same scheduler as any text.
final class SamplingRun {
    private let scheduler: BatchScheduler
    private(set) var isDone = false

    /// - Parameter folder: where the weights go on their way; it is removed at once.
    init(trainer: Trainer, prepared: PreparedFinetune, folder: String, pool: ThreadPool) throws(TaskFault) {
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let count = prepared.parameters.nGenerate
        do {
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try trainer.saveCheckpoint(directory: folder, tokenizer: nil, resumable: false)
            let model = try LanguageModel.load(
                ModelDirectory.open(folder), pool: pool, checkpointSHA256: String(repeating: "0", count: 64))
            scheduler = try BatchScheduler(model: model, tokenizer: prepared.tokenizer, pool: pool, options: SchedulerOptions(slots: min(count, 16)))
            var request = GenerationRequest(prompts: [""], n: count, prependBos: true)
            request.parameters.seed = UInt64(clamping: prepared.task.seed &+ Int64(trainer.stepsDone))
            request.parameters.maxLength = min(256, trainer.description.contextLength)
            request.text.nonemptyOutput = false
            // A model without a token to begin with simply shows no samples.
            isDone = (try? scheduler.add(request)) == nil
        } catch let error as TrainingError {
            throw TaskFault(error)
        } catch { throw .model("the model in training cannot be sampled: \(error)") }
    }

    /// One step; the samples that it finished.
    func step(atStep step: Int) -> [WorkerEvent] {
        guard !isDone else { return [] }
        var events: [GenerationEvent] = []
        if !scheduler.step(into: &events) { isDone = true }
        return events.compactMap { event in
            switch event {
            case .sample(_, let sample):
                return .sample(
                    sample: sample.sample, promptIndex: 0, draw: sample.draw, text: sample.text, finishReason: sample.finishReason.rawValue,
                    step: step)
            case .finished, .failed, .cancelled:
                isDone = true
                return nil
            case .token: return nil
            }
        }
    }
}
