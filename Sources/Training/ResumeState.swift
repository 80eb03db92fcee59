package import Datasets
import DurableFiles
import Encodings
package import Kernels
import ModelFiles

/// What a checkpoint's folder holds beside the model so that the run can go on: `resume.json`, and `resume.safetensors` with
/// both moments of every trained tensor.
struct ResumeState {
    static let format = "scriptorium-resume/1"

    var step: Int
    /// The data cursor: blocks taken from the schedule so far.
    var blocks: UInt64
    var averageLoss: Double?
    /// The dataset's digest, nil without one: other data would be another run.
    var datasetDigest: String?
    /// SHA-256 of the weights' file, so that moments are never joined to other weights.
    var weightsSHA256: String
    var options: TrainingOptions

    init(_ trainer: Trainer, weights path: String) throws(ModelFileError) {
        step = trainer.stepsDone
        blocks = trainer.blocksTaken
        averageLoss = trainer.averageLoss
        datasetDigest = trainer.dataset?.digest
        weightsSHA256 = try ResumeState.digest(path)
        options = trainer.options
    }

    func write(into folder: String, trainer: Trainer) throws(ModelFileError) {
        let store = trainer.store
        var tensors: [SafetensorsWriter.Tensor] = []
        for parameter in store.parameters where !parameter.frozen {
            for (prefix, memory) in [("m.", store.firstMoment), ("v.", store.secondMoment)] {
                let data = UnsafeBufferPointer(start: memory.base + parameter.offset, count: parameter.count)
                tensors.append(SafetensorsWriter.Tensor(name: prefix + parameter.name, shape: parameter.shape, data: data))
            }
        }
        try SafetensorsWriter.write(tensors, to: folder + "/resume.safetensors")
        try writeModelFile(JSONValue.object(json).prettyPrinted, to: folder + "/resume.json")
    }

    private static func digest(_ path: String) throws(ModelFileError) -> String {
        do {
            return try SHA256Digest.hex(ofFile: path)
        } catch { throw ModelFileError(.unreadable, path: path, "\(error)") }
    }
}

extension ResumeState {
    var json: JSONObject {
        [
            "format": .string(ResumeState.format),
            "step": .integer(Int64(step)),
            "blocks": .string(String(blocks)),
            "average_loss": averageLoss.map { .real($0) } ?? .null,
            "dataset_sha256": datasetDigest.map { .string($0) } ?? .null,
            "weights_sha256": .string(weightsSHA256),
            "options": .object(options.json),
        ]
    }

    /// Reads `resume.json` and checks that it belongs to the weights beside it.
    init(folder: String) throws(TrainingError) {
        let path = folder + "/resume.json"
        let object: JSONObject
        let digest: String
        do throws(ModelFileError) {
            object = try ModelConfig.read(path)
            digest = try ResumeState.digest(folder + "/model.safetensors")
        } catch { throw .files(error) }
        guard object["format"]?.stringValue == ResumeState.format, let step = object["step"]?.intValue, step >= 0,
            let blocks = object["blocks"]?.stringValue.flatMap({ UInt64($0) }), let weights = object["weights_sha256"]?.stringValue,
            let options = object["options"]?.objectValue.flatMap({ TrainingOptions(json: $0) })
        else { throw .cannotResume(path: path, message: "is no resume state of this version") }
        guard weights == digest else { throw .cannotResume(path: path, message: "belongs to other weights than the model.safetensors beside it") }
        self.step = step
        self.blocks = blocks
        averageLoss = object["average_loss"]?.doubleValue
        datasetDigest = object["dataset_sha256"]?.stringValue
        weightsSHA256 = weights
        self.options = options
    }
}

extension TrainingOptions {
    /// Every value under the contract's name.
    var json: JSONObject {
        [
            "num_steps": .integer(Int64(numSteps)), "batch_size": .integer(Int64(batchSize)),
            "block_size": blockSize.map { .integer(Int64($0)) } ?? .null, "learning_rate": .real(learningRate), "weight_decay": .real(weightDecay),
            "adam_epsilon": .real(adamEpsilon), "warmup_steps": .integer(Int64(warmupSteps)), "max_grad_norm": .real(maxGradNorm),
            "gradient_accumulation_steps": .integer(Int64(gradientAccumulationSteps)), "freeze_layers": .bool(freezeLayers),
            "num_layers_freeze": .integer(Int64(numLayersFreeze)), "gradient_checkpointing": .bool(gradientCheckpointing), "dropout": .real(dropout),
            "avg_loss_smoothing": .real(averageLossSmoothing), "seed": .string(String(seed)),
        ]
    }

    /// Nil where a member is missing or of another type.
    init?(json object: JSONObject) {
        guard let seed = object["seed"]?.stringValue.flatMap({ UInt64($0) }), let numSteps = object["num_steps"]?.intValue,
            let batchSize = object["batch_size"]?.intValue, let learningRate = object["learning_rate"]?.doubleValue,
            let weightDecay = object["weight_decay"]?.doubleValue, let adamEpsilon = object["adam_epsilon"]?.doubleValue,
            let warmupSteps = object["warmup_steps"]?.intValue, let maxGradNorm = object["max_grad_norm"]?.doubleValue,
            let accumulation = object["gradient_accumulation_steps"]?.intValue, let freezeLayers = object["freeze_layers"]?.boolValue,
            let numLayersFreeze = object["num_layers_freeze"]?.intValue, let checkpointing = object["gradient_checkpointing"]?.boolValue,
            let dropout = object["dropout"]?.doubleValue, let smoothing = object["avg_loss_smoothing"]?.doubleValue
        else { return nil }
        self.init(seed: seed)
        (self.numSteps, self.batchSize, blockSize) = (numSteps, batchSize, object["block_size"]?.intValue)
        (self.learningRate, self.weightDecay, self.adamEpsilon) = (learningRate, weightDecay, adamEpsilon)
        (self.warmupSteps, self.maxGradNorm, gradientAccumulationSteps) = (warmupSteps, maxGradNorm, accumulation)
        (self.freezeLayers, self.numLayersFreeze, gradientCheckpointing) = (freezeLayers, numLayersFreeze, checkpointing)
        (self.dropout, averageLossSmoothing) = (dropout, smoothing)
    }
}

extension Trainer {
    /// Whether a folder holds a checkpoint from which a run can go on.
    package static func canResume(directory: String) -> Bool { FileTree.names(directory).contains("resume.json") }

    /// Goes on with a run from its checkpoint, with the same bits as if it had never stopped.
    /// - Parameters:
    ///   - directory: a folder that ``saveCheckpoint(directory:tokenizer:resumable:)`` wrote.
    ///   - dataset: the same that the run began with.
    ///   - options: nil takes those of the run; others than these are refused, as the bits would differ.
    package static func resume(
        directory path: String, dataset: TokenDataset?, options: TrainingOptions? = nil, pool: ThreadPool
    ) throws(TrainingError) -> Trainer {
        let state = try ResumeState(folder: path)
        if let options, options != state.options {
            throw .cannotResume(path: path, message: "the run began with other options: give the same, or begin a new run")
        }
        guard dataset?.digest == state.datasetDigest else {
            throw .cannotResume(path: path, message: "the run began on other data: give the same files and tokenizer, or begin a new run")
        }
        let directory: ModelDirectory
        do throws(ModelFileError) { directory = try ModelDirectory.open(path) } catch { throw .files(error) }
        let trainer = try Trainer(model: .directory(directory), dataset: dataset, options: state.options, pool: pool)
        try trainer.store.loadMoments(path + "/resume.safetensors")
        trainer.stepsDone = state.step
        trainer.blocksTaken = state.blocks
        trainer.average = RunningAverage(smoothing: state.options.averageLossSmoothing, value: state.averageLoss)
        trainer.optimizer = Optimizer(steps: state.step)
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
