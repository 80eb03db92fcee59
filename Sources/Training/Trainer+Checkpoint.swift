import DurableFiles
import Encodings
import LanguageModels
import ModelFiles
package import Tokenizers

extension Trainer {
    /// Writes the model as transformers loads it, with the tokenizer's files and, beside them, what a resume needs.
    ///
    /// The folder appears, or takes the place of an older one, in one step: whoever reads it or kills the process finds a whole checkpoint.
    /// - Parameter resumable: whether to write `resume.json` and `resume.safetensors` too: step, data cursor, average, both moments.
    /// - Returns: the checkpoint with its digest.
    @discardableResult
    package func saveCheckpoint(directory: String, tokenizer: Tokenizer?, resumable: Bool = true) throws(TrainingError) -> SavedCheckpoint {
        do throws(ModelFileError) {
            try DurableFolder.write(replacing: directory, failure: ModelFileError.init) { (folder: String) throws(ModelFileError) in
                try ModelExport.writeFiles(config: config, generationConfig: generationConfig, tensors: weightTensors, into: folder)
                if let tokenizer { try write(tokenizer, into: folder) }
                if resumable { try ResumeState(self, weights: folder + "/model.safetensors").write(into: folder, trainer: self) }
            }
            let saved = try ModelDirectory.open(directory)
            let digest = try checkpointDigest(
                architecture: description.architecture, configKeys: description.digestKeys, bosTokenID: description.bosID.map { Int($0) },
                eosTokenIDs: description.eosIDs.map { Int($0) }, tensors: saved.tensors)
            return SavedCheckpoint(path: saved.path, step: stepsDone, sha256: digest, byteCount: saved.tensors.byteCount)
        } catch { throw .files(error) }
    }

    private func write(_ tokenizer: Tokenizer, into folder: String) throws(ModelFileError) {
        do {
            try tokenizer.write(toDirectory: folder)
        } catch { throw ModelFileError(.unreadable, path: folder, "the tokenizer cannot be written: \(error)") }
    }

    private var weightTensors: [SafetensorsWriter.Tensor] {
        store.parameters.map {
            SafetensorsWriter.Tensor(
                name: $0.name, shape: $0.shape, data: UnsafeBufferPointer(start: store.weights.base + $0.offset, count: $0.count))
        }
    }
}
