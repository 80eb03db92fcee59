import ArtifactStore
import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import TaskProtocol
import Tokenizers
import Training

/// Saves a trainer's state as artifacts: the model as one, the model with what a resume needs as another; their files are stored once.
struct CheckpointStore {
    let artifacts: any WorkerArtifacts
    /// A folder of this task's own.
    let workFolder: String
    let tokenizer: Tokenizer
    let lineByLine: Bool
    /// What an adapter's config says of its base.
    let baseName: String?

    init(artifacts: any WorkerArtifacts, workFolder: String, prepared: PreparedFinetune) {
        self.artifacts = artifacts
        self.workFolder = workFolder
        tokenizer = prepared.tokenizer
        lineByLine = prepared.isLineByLine
        baseName = prepared.task.model?.name
    }

    /// What was saved.
    struct Saved {
        let record: CheckpointRecord
        let resume: ResumeReference
    }

    /// Writes the state of now. The folder it is written to is gone afterwards; the artifacts stay.
    /// - Returns: nil where `watch` stopped it: nobody wants the state any more.
    func save(_ trainer: Trainer, watch: TransferWatch) throws(TaskFault) -> Saved? {
        let folder = workFolder + "/checkpoint-\(trainer.stepsDone)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        do {
            try FileManager.default.createDirectory(atPath: workFolder, withIntermediateDirectories: true)
        } catch { throw .transient("the work folder cannot be made: \(error)") }
        let saved: SavedCheckpoint
        do throws(TrainingError) {
            saved = try trainer.saveCheckpoint(directory: folder, tokenizer: tokenizer, resumable: true, baseName: baseName)
        } catch { throw TaskFault(error) }
        do throws(TransferError) {
            let model = try artifacts.store(folder, watch: watch) { !$0.hasPrefix("resume.") }
            let resume = try artifacts.store(folder, watch: watch) { _ in true }
            let record = CheckpointRecord(
                step: trainer.stepsDone, manifest: model.sha256, sha256: saved.sha256, tokenizerSHA256: tokenizer.digest,
                architecture: trainer.description.architecture, parameters: Int64(trainer.description.parameterCount),
                contextLength: trainer.description.contextLength, bytes: Int64(model.byteCount), lineByLine: lineByLine,
                config: JSONValue.object(trainer.config).canonical, loss: trainer.lastLoss, averageLoss: trainer.averageLoss)
            return Saved(record: record, resume: ResumeReference(manifest: resume.sha256, step: trainer.stepsDone))
        } catch {
            if error == .stopped { return nil }
            throw .transient("the checkpoint cannot be stored: \(error)")
        }
    }
}
