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
    private let complain: (EngineComplaint) -> Void
    private let report: (EngineReport) -> Void
    private var sampling: SamplingRun?
    private var savedStep = -1
    private var log: TrainingLog
    private var savedAt: Milliseconds
    /// A save that could not be made, and is to be tried again.
    private var owed: OwedSave?
    /// The last one, where it could not be made yet.
    private var last: LastSave?
    private static let saveAgainMilliseconds: Milliseconds = 30_000
    private static let saveMilliseconds: Milliseconds = 300_000
    private static let savingProgressMilliseconds: Milliseconds = 1000

    private struct OwedSave {
        /// Whether it is to be filed as a checkpoint, too.
        var withRecord: Bool
        /// Not before. Nil until the next step begins: the try itself may have taken longer than the pause after it.
        var notBefore: Milliseconds?
    }

    /// How a turn ended: with work done, with nothing to do before ``waitsUntil``, or as the last one.
    enum Outcome { case goesOn, waits, ended }

    /// When the next turn has something to do; nil where that is at once.
    var waitsUntil: Milliseconds? { last?.notBefore }
    var stepsDone: Int { trainer.stepsDone }

    init(
        lease: LeaseID, prepared: PreparedFinetune, pool: ThreadPool, checkpoints: CheckpointStore, now: Milliseconds,
        isUnwanted: @escaping () -> Bool = { false }, complain: @escaping (EngineComplaint) -> Void, report: @escaping (EngineReport) -> Void
    ) throws(TaskFault) {
        self.lease = lease
        self.prepared = prepared
        self.pool = pool
        self.checkpoints = checkpoints
        self.isUnwanted = isUnwanted
        self.complain = complain
        self.report = report
        parameters = prepared.parameters
        savedAt = now
        do throws(TrainingError) {
            trainer = try Self.trainer(prepared, pool: pool)
        } catch { throw Self.fault(error, prepared.parameters) }
        log = TrainingLog(totalSteps: trainer.totalSteps)
        report(.started(lease))
    }

    /// Tokens that a step learns from.
    var tokensPerStep: Int { trainer.tokensPerStep }

    /// One step of training or of a sample.
    func turn(now: Milliseconds) -> Outcome {
        do throws(TaskFault) {
            if trainer.samplesAreDue {
                try sampleOn()
            } else if trainer.stepsDone < trainer.totalSteps {
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
        sayRest()
        guard reason == .draining || reason == .timedOut, trainer.stepsDone > 0,
            let saved = try? checkpoints.save(trainer, watch: savingWatch())
        else {
            return report(.stopped(lease, resume: nil))
        }
        if reason == .timedOut { report(.checkpoint(lease, step: trainer.stepsDone, record: nil, resume: saved.resume.json)) }
        report(.stopped(lease, resume: saved.resume.json))
    }

    private func train(now: Milliseconds) throws(TaskFault) {
        if let save = owed, save.notBefore == nil {
            owed = OwedSave(withRecord: save.withRecord, notBefore: now + Self.saveAgainMilliseconds)
        }
        let step: TrainingStep
        do throws(TrainingError) {
            step = try trainer.step()
        } catch {
            sayRest()
            throw Self.fault(error, parameters)
        }
        // Before any state is saved: another attempt that goes on from it takes the samples, if this one does not come to it.
        trainer.samplesAreDue = isDue(every: parameters.generateEvery, step.step) && parameters.nGenerate > 0
        let isLast = step.step >= trainer.totalSteps
        if let steps = log.add(step, now: now) { say(step, steps) }
        if isDue(every: parameters.saveEvery, step.step), !isLast { try saveIfPossible(now: now, withRecord: true) }
        if now - savedAt >= Self.saveMilliseconds, !isLast { try saveIfPossible(now: now, withRecord: false) }
        if let save = owed, let notBefore = save.notBefore, now >= notBefore, !isLast {
            owed = nil
            try saveIfPossible(now: now, withRecord: save.withRecord)
        }
    }

    /// Saves on the way. Where that merely cannot be now (brokers or store are away, a disk is full) the training goes on, and the state is saved
    /// later: nothing is lost but what an attempt that ends meanwhile would have to do again.
    private func saveIfPossible(now: Milliseconds, withRecord: Bool) throws(TaskFault) {
        if let save = owed {
            owed = OwedSave(withRecord: save.withRecord || withRecord, notBefore: save.notBefore)
            return
        }
        do throws(TaskFault) {
            try save(now: now, withRecord: withRecord)
        } catch {
            guard !error.isFinal else { throw error }
            complain(.cannotSave(lease, error))
            owed = OwedSave(withRecord: withRecord)
        }
    }

    private func isDue(every interval: Int, _ step: Int) -> Bool { interval > 0 && step % interval == 0 }

    private func say(_ step: TrainingStep, _ steps: [TrainingStepRecord]) {
        let progress = WorkerProgress(
            phase: .training, done: step.step, total: trainer.totalSteps, loss: step.loss, averageLoss: step.averageLoss,
            tokensPerSecond: step.tokensPerSecond)
        report(.progress(lease, progress, steps: steps))
    }

    /// Steps that were logged and not told yet: before the run ends in another way than by its last step.
    private func sayRest() {
        let steps = log.takeRest()
        if !steps.isEmpty { report(.progress(lease, progress(.training), steps: steps)) }
    }

    private func progress(_ phase: WorkerProgress.Phase) -> WorkerProgress {
        WorkerProgress(phase: phase, done: trainer.stepsDone, total: trainer.totalSteps, loss: trainer.lastLoss, averageLoss: trainer.averageLoss)
    }

    /// Saves the state of now; where nobody wants it any more nothing is reported, as the stop that is on its way will be answered.
    private func save(now: Milliseconds, withRecord: Bool) throws(TaskFault) {
        report(.progress(lease, progress(.saving), steps: log.takeRest()))
        savedAt = now
        guard let saved = try checkpoints.save(trainer, watch: savingWatch()) else { return }
        if withRecord { savedStep = trainer.stepsDone }
        report(.checkpoint(lease, step: trainer.stepsDone, record: withRecord ? saved.record : nil, resume: saved.resume.json))
    }

    /// Says how many bytes of a state are stored, as a sign of life.
    private func savingWatch() -> TransferWatch {
        var saidAt = MonotonicClock.milliseconds
        return TransferWatch(
            progress: { [lease, report, trainer] done, total in
                let now = MonotonicClock.milliseconds
                guard now - saidAt >= Self.savingProgressMilliseconds else { return }
                saidAt = now
                let progress = WorkerProgress(
                    phase: .saving, done: Int(done), total: Int(total), loss: trainer.lastLoss, averageLoss: trainer.averageLoss)
                report(.progress(lease, progress, steps: []))
            }, isStopped: isUnwanted)
    }

    private func finish(now: Milliseconds) throws(TaskFault) -> Outcome {
        if savedStep != trainer.stepsDone {
            guard last?.isDue(now: now) ?? true else { return .waits }
            try saveLast(now: now)
        }
        guard savedStep == trainer.stepsDone else { return .goesOn }
        let result: JSONObject = [
            "average_loss": trainer.averageLoss.map { .real($0) } ?? .null, "final_loss": trainer.lastLoss.map { .real($0) } ?? .null,
            "steps": .integer(Int64(trainer.stepsDone)), "tokens_per_second": trainer.tokensPerSecond.map { .real($0) } ?? .null,
        ]
        report(.finished(lease, generations: [], result: JSONValue.object(result).canonical))
        return .ended
    }

    /// Saves what all the training was for. Where that merely cannot be now it stays in memory and is tried again for a while, as nothing else keeps it.
    private func saveLast(now: Milliseconds) throws(TaskFault) {
        do throws(TaskFault) {
            try save(now: now, withRecord: true)
        } catch {
            var save = last ?? LastSave(until: now + LastSave.patience)
            guard !error.isFinal, now < save.until else { throw error }
            complain(.cannotSave(lease, error))
            save.notBefore = nil
            last = save
        }
    }

    // MARK: Samples

    private func beginSampling() throws(TaskFault) {
        do throws(TrainingError) {
            sampling = try SamplingRun(
                trainer: trainer, tokenizer: prepared.tokenizer, count: parameters.nGenerate, folder: checkpoints.workFolder + "/sampling",
                pool: pool)
        } catch { throw TaskFault(error) }
    }

    /// Begins, or goes on without these samples where that merely cannot be now: the model is written to the disk on its way, which may be full.
    private func beginSamplingIfPossible() throws(TaskFault) {
        do throws(TaskFault) {
            try beginSampling()
        } catch {
            guard !error.isFinal else { throw error }
            complain(.cannotSample(lease, error))
            trainer.samplesAreDue = false
        }
    }

    private func sampleOn() throws(TaskFault) {
        if sampling == nil { try beginSamplingIfPossible() }
        guard let run = sampling else { return }
        let events = run.step().map { sample in
            WorkerEvent.sample(
                sample: sample.sample, promptIndex: 0, draw: sample.draw, text: sample.text, finishReason: sample.finishReason.rawValue,
                step: trainer.stepsDone)
        }
        if !events.isEmpty { report(.events(lease, events)) }
        guard run.isDone else { return }
        sampling = nil
        trainer.samplesAreDue = false
    }

    private static func trainer(_ prepared: PreparedFinetune, pool: ThreadPool) throws(TrainingError) -> Trainer {
        let options = TrainingOptions(prepared.parameters, seed: prepared.task.seed)
        // A state that cannot be gone on with costs the work done, never the task.
        if let folder = prepared.resumeFolder,
            let trainer = try? Trainer.resume(directory: folder, datasets: prepared.datasets, options: options, pool: pool)
        {
            return trainer
        }
        let source: Trainer.Source
        switch prepared.base {
        case .directory(let directory): source = .directory(directory)
        case .scratch(let config): source = .fresh(config, prepared.tokenizer, seed: options.seed)
        }
        return try Trainer(model: source, datasets: prepared.datasets, options: options, lineByLine: prepared.isLineByLine, pool: pool)
    }

    /// An error of training as the task's, naming the parameter that it was given by.
    private static func fault(_ error: TrainingError, _ parameters: FinetuneParameters) -> TaskFault {
        if case .datasetTooShort = error { return .invalid(error.description, field: "params.\(parameters.corpusName)") }
        return TaskFault(error)
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
        gradientCheckpointing = parameters.gradientCheckpointing
        dropout = parameters.dropout
        precision = parameters.precision == .bfloat16 ? .bfloat16 : .float32
        if let asked = parameters.lora {
            var adapter = LoRAOptions()
            (adapter.rank, adapter.alpha, adapter.dropout, adapter.targets) = (asked.rank, asked.alpha, asked.dropout, asked.targets)
            lora = adapter
        }
        averageLossSmoothing = parameters.avgLossSmoothing
    }
}
