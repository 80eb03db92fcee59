import Datasets
import DurableFiles
import Encodings
import ModelFiles

/// What a checkpoint's folder holds beside the model so that the run can go on: `resume.json`, and `resume.safetensors` with
/// both moments of every trained tensor.
struct ResumeState {
    static let format = "scriptorium-resume/2"

    var step: Int
    /// The data cursor: blocks taken from the schedule of this stage's dataset so far.
    var blocks: UInt64
    var averageLoss: Double?
    /// The last step's, which a run that has no step left to do ends with; nil in states of older versions.
    var lastLoss: Double?
    /// Whether samples of that step are still to be taken.
    var samplesAreDue: Bool
    /// Each dataset's digest, in the order of the stages: other data would be another run.
    var datasets: [String]
    /// SHA-256 of the weights' files by name, so that moments are never joined to other weights.
    var weights: [String: String]
    var options: TrainingOptions

    init(_ trainer: Trainer, folder: String) throws(ModelFileError) {
        step = trainer.stepsDone
        blocks = trainer.blocksTaken
        averageLoss = trainer.averageLoss
        (lastLoss, samplesAreDue) = (trainer.lastLoss, trainer.samplesAreDue)
        datasets = trainer.datasets.map(\.digest)
        weights = try ResumeState.digests(folder)
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

    /// Of the model's weights and, where there is one, of the adapter's.
    private static func digests(_ folder: String) throws(ModelFileError) -> [String: String] {
        let present = Set(FileTree.names(folder))
        var digests: [String: String] = [:]
        for name in ["model.safetensors", LoRAAdapter.weightsFile] where present.contains(name) {
            do {
                digests[name] = try SHA256Digest.hex(ofFile: folder + "/" + name)
            } catch { throw ModelFileError(.unreadable, path: folder + "/" + name, "\(error)") }
        }
        return digests
    }
}

extension ResumeState {
    var json: JSONObject {
        var files = JSONObject()
        for name in weights.keys.sorted() { files[name] = weights[name].map { .string($0) } }
        return [
            "format": .string(ResumeState.format),
            "step": .integer(Int64(step)),
            "blocks": .string(String(blocks)),
            "average_loss": averageLoss.map { .real($0) } ?? .null,
            "last_loss": lastLoss.map { .real($0) } ?? .null,
            "samples_are_due": .bool(samplesAreDue),
            "datasets_sha256": .array(datasets.map { .string($0) }),
            "weights_sha256": .object(files),
            "options": .object(options.json),
        ]
    }

    /// Reads `resume.json` and checks that it belongs to the weights beside it.
    init(folder: String) throws(TrainingError) {
        let path = folder + "/resume.json"
        let object: JSONObject
        let digests: [String: String]
        do throws(ModelFileError) {
            object = try ModelConfig.read(path)
            digests = try ResumeState.digests(folder)
        } catch { throw .files(error) }
        guard object["format"]?.stringValue == ResumeState.format, let step = object["step"]?.intValue, step >= 0,
            let blocks = object["blocks"]?.stringValue.flatMap({ UInt64($0) }), let weights = object["weights_sha256"]?.objectValue,
            let datasets = object["datasets_sha256"]?.arrayValue?.map({ $0.stringValue ?? "" }),
            let options = object["options"]?.objectValue.flatMap({ TrainingOptions(json: $0) })
        else { throw .cannotResume(path: path, message: "is no resume state of this version") }
        self.weights = Dictionary(weights.map { ($0.key, $0.value.stringValue ?? "") }, uniquingKeysWith: { first, _ in first })
        guard self.weights == digests else { throw .cannotResume(path: path, message: "belongs to other weights than those beside it") }
        (self.step, self.blocks, self.datasets, self.options) = (step, blocks, datasets, options)
        averageLoss = object["average_loss"]?.doubleValue
        lastLoss = object["last_loss"]?.doubleValue
        samplesAreDue = object["samples_are_due"]?.boolValue ?? false
    }
}
