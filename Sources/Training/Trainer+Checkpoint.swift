import DurableFiles
import Encodings
import LanguageModels
import ModelFiles
package import Tokenizers

extension Trainer {
    /// Writes the model as transformers loads it, with the tokenizer's files and, beside them, what a resume needs. With adapters:
    /// the base as it was, and the adapter as PEFT loads it.
    ///
    /// The folder appears, or takes the place of an older one, in one step: whoever reads it or kills the process finds a whole checkpoint.
    /// What somebody else put into the older one stays (``CheckpointFolder``).
    /// - Parameters:
    ///   - resumable: whether to write `resume.json` and `resume.safetensors` too: step, data cursor, average, both moments.
    ///   - baseName: what the adapter's config says of its base.
    /// - Returns: the checkpoint with its digest.
    /// - Throws: `TrainingError.notFinite` where a weight is no finite number: such a model is worth nothing and takes no place.
    @discardableResult
    package func saveCheckpoint(
        directory: String, tokenizer: Tokenizer?, resumable: Bool = true, baseName: String? = nil
    ) throws(TrainingError) -> SavedCheckpoint {
        if let name = store.firstNotFinite() { throw .notFinite(what: "weight \(name)", step: stepsDone) }
        do throws(ModelFileError) {
            try DurableFolder.write(replacing: directory, keeping: CheckpointFolder.isForeign, failure: ModelFileError.init) {
                (folder: String) throws(ModelFileError) in
                try writeModel(into: folder, baseName: baseName)
                if let tokenizer { try write(tokenizer, into: folder) }
                if resumable { try ResumeState(self, folder: folder).write(into: folder, trainer: self) }
            }
            return try savedCheckpoint(directory)
        } catch { throw .files(error) }
    }

    /// Puts the merged model in the place of a checkpoint with an adapter. What a resume needs is gone with it.
    package func mergeCheckpoint(directory: String) throws(TrainingError) -> SavedCheckpoint {
        do throws(ModelFileError) {
            try ModelDirectory.open(directory).export(to: directory)
            return try savedCheckpoint(directory)
        } catch { throw .files(error) }
    }

    /// What stands in a folder.
    private func savedCheckpoint(_ directory: String) throws(ModelFileError) -> SavedCheckpoint {
        let saved = try ModelDirectory.open(directory)
        let digest = try checkpointDigest(
            architecture: description.architecture, configKeys: description.digestKeys, bosTokenID: description.bosID.map { Int($0) },
            eosTokenIDs: description.eosIDs.map { Int($0) }, tensors: saved.tensors)
        return SavedCheckpoint(path: saved.path, step: stepsDone, sha256: digest, byteCount: saved.tensors.byteCount)
    }

    private func writeModel(into folder: String, baseName: String?) throws(ModelFileError) {
        guard let base, let lora = options.lora else {
            return try ModelExport.writeFiles(
                config: config, generationConfig: generationConfig, tensors: store.parameters.map(tensor), into: folder)
        }
        try base.directory.writeCopy(base.weights, into: folder, config: config)
        let header = LoRAAdapter.Header(
            rank: lora.rank, alpha: lora.alpha, dropout: lora.dropout, targets: lora.targets ?? Adapter.shortNames(adapters),
            isInputMajor: adapters.contains(where: \.isInputMajor), baseName: baseName)
        try LoRAAdapter.write(header, tensors: store.parameters.filter { !$0.frozen }.map(tensor), into: folder)
    }

    private func write(_ tokenizer: Tokenizer, into folder: String) throws(ModelFileError) {
        do {
            try tokenizer.write(toDirectory: folder)
        } catch { throw ModelFileError(.unreadable, path: folder, "the tokenizer cannot be written: \(error)") }
    }

    private func tensor(_ parameter: Parameter) -> SafetensorsWriter.Tensor {
        SafetensorsWriter.Tensor(
            name: parameter.name, shape: parameter.shape,
            data: UnsafeBufferPointer(start: store.weights.base + parameter.offset, count: parameter.count))
    }
}
