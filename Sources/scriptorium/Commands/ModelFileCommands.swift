import DurableFiles
import LanguageModels
import ModelFiles
import Tokenizers

/// The file parts of `model import` and `model export`; the artifact store's and the broker's parts are their callers'.
enum ModelFileCommands {
    /// What a model directory holds, checked.
    struct Inspection {
        let directory: ModelDirectory
        let description: ModelDescription
        /// Its tensors under export names.
        let weights: TensorCollection
        /// The checkpoint digest that names these weights everywhere.
        let sha256: String
        /// Nil where the directory has no tokenizer.
        let tokenizer: Tokenizer?
    }

    /// Opens a model directory of any form and checks everything that a worker will rely on: config, tensors, shapes, tokenizer.
    /// - Throws: `CommandFailure.usage` with the file or tensor at fault.
    static func inspect(_ path: String) throws -> Inspection {
        do {
            let directory = try ModelDirectory.open(path)
            let description = try Architectures.describe(config: directory.config, generation: directory.generationConfig)
            let weights = try description.weights(in: directory.tensors)
            let tokenizer = try directory.tokenizerPath.map { try Tokenizer.load(path: $0) }
            if let tokenizer, tokenizer.vocabularySize > description.vocabularySize {
                throw CommandFailure.usage(
                    "\(path): the tokenizer has \(tokenizer.vocabularySize) tokens, but the model only \(description.vocabularySize)")
            }
            return Inspection(
                directory: directory, description: description, weights: weights, sha256: try description.checkpointDigest(weights),
                tokenizer: tokenizer)
        } catch let failure as CommandFailure {
            throw failure
        } catch { throw CommandFailure.usage("\(path): \(error)") }
    }

    /// Writes a model in its canonical form: one safetensors file under export names, configs as they were, the tokenizer's
    /// files, tokenizer.json always among them.
    static func export(_ source: String, to target: String) throws {
        try export(try inspect(source), to: target)
    }

    /// Likewise, of what has been inspected already.
    static func export(_ model: Inspection, to target: String) throws {
        do {
            try model.directory.export(to: target, weights: model.weights) { folder throws(ModelFileError) in
                guard let tokenizer = model.tokenizer, !FileTree.names(folder).contains("tokenizer.json") else { return }
                do throws(TokenizerError) { try tokenizer.write(toDirectory: folder) } catch {
                    throw ModelFileError(.unreadable, path: folder, "\(error)")
                }
            }
        } catch { throw CommandFailure.failed("\(error)") }
    }

    /// Writes the adapter of a LoRA model, without its base.
    static func exportAdapter(_ source: String, to target: String) throws {
        do {
            guard let adapter = try ModelDirectory.open(source).tensors.adapter else {
                throw CommandFailure.usage("the model has no adapter: leave --adapter out")
            }
            try DurableFolder.write(replacing: target, failure: ModelFileError.init) { (folder: String) throws(ModelFileError) in
                try adapter.write(into: folder)
            }
        } catch let failure as CommandFailure {
            throw failure
        } catch { throw CommandFailure.failed("\(error)") }
    }
}
