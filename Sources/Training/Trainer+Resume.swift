package import Datasets
import DurableFiles
package import Kernels
import ModelFiles

extension Trainer {
    /// Whether a folder holds a checkpoint from which a run can go on.
    package static func canResume(directory: String) -> Bool { FileTree.names(directory).contains("resume.json") }

    /// What the run of a folder's checkpoint began with.
    package static func options(directory path: String) throws(TrainingError) -> TrainingOptions { try ResumeState(folder: path).options }

    /// Goes on with a run that has one dataset or none.
    package static func resume(
        directory path: String, dataset: TokenDataset?, options: TrainingOptions? = nil, pool: ThreadPool
    ) throws(TrainingError) -> Trainer {
        try resume(directory: path, datasets: dataset.map { [$0] } ?? [], options: options, pool: pool)
    }

    /// Goes on with a run from its checkpoint, with the same bits as if it had never stopped.
    /// - Parameters:
    ///   - directory: a folder that ``saveCheckpoint(directory:tokenizer:resumable:baseName:)`` wrote.
    ///   - datasets: the same that the run began with, in the same order.
    ///   - options: nil takes those of the run; others that would make other bits are refused.
    package static func resume(
        directory path: String, datasets: [TokenDataset], options: TrainingOptions? = nil, pool: ThreadPool
    ) throws(TrainingError) -> Trainer {
        let state = try ResumeState(folder: path)
        if let options, !options.makesSameBits(as: state.options) {
            throw .cannotResume(path: path, message: "the run began with other options: give the same, or begin a new run")
        }
        guard datasets.map(\.digest) == state.datasets else {
            throw .cannotResume(path: path, message: "the run began on other data: give the same files and tokenizer, or begin a new run")
        }
        let directory: ModelDirectory
        do throws(ModelFileError) { directory = try ModelDirectory.open(path) } catch { throw .files(error) }
        let trainer = try Trainer(
            model: .directory(directory.unmerged), datasets: datasets, options: options ?? state.options, pool: pool)
        if let adapter = directory.tensors.adapter {
            try trainer.store.load(adapter.tensors, trainer.adapters.flatMap { [$0.a, $0.b] })
        }
        try trainer.store.loadMoments(path + "/resume.safetensors")
        trainer.stepsDone = state.step
        (trainer.lastLoss, trainer.samplesAreDue) = (state.lastLoss, state.samplesAreDue)
        trainer.blocksTaken = state.blocks
        trainer.average = RunningAverage(smoothing: state.options.averageLossSmoothing, value: state.averageLoss)
        trainer.optimizer = Optimizer(steps: state.step - trainer.schedule.stage(ofStep: state.step).first)
        return trainer
    }
}

extension ParameterStore {
    /// Reads both moments of every trained parameter.
    func loadMoments(_ path: String) throws(TrainingError) {
        do throws(ModelFileError) {
            let file = try TensorCollection.plain(path: path)
            for parameter in parameters where !parameter.frozen {
                for (prefix, memory) in [("m.", firstMoment), ("v.", secondMoment)] {
                    guard file.info(prefix + parameter.name)?.shape == parameter.shape else {
                        throw ModelFileError(.malformed, path: path, tensor: prefix + parameter.name, "is missing or has another shape")
                    }
                    try file.readFloat32(prefix + parameter.name, into: memory.base + parameter.offset)
                }
            }
        } catch { throw .files(error) }
    }
}
