import DurableFiles
package import Generation
package import Kernels
import LanguageModels
import ModelFiles
package import Tokenizers

/// Sample texts of a model in training, for those who watch: its weights of now, an adapter merged, run by the same scheduler as any
/// text. It reads the trainer and changes nothing of it, so that a run with samples makes the bits of one without.
package final class SamplingRun {
    private let scheduler: BatchScheduler
    package private(set) var isDone = false

    /// - Parameters:
    ///   - count: how many texts.
    ///   - folder: where the weights go on their way; it is removed at once.
    package init(trainer: Trainer, tokenizer: Tokenizer, count: Int, folder: String, pool: ThreadPool) throws(TrainingError) {
        defer { FileTree.remove(folder) }
        do {
            try trainer.saveCheckpoint(directory: folder, tokenizer: nil, resumable: false)
            let model = try LanguageModel.load(
                ModelDirectory.open(folder), pool: pool, checkpointSHA256: String(repeating: "0", count: 64))
            scheduler = try BatchScheduler(model: model, tokenizer: tokenizer, pool: pool, options: SchedulerOptions(slots: min(count, 16)))
            var request = GenerationRequest(prompts: [""], n: count, prependBos: true)
            request.parameters.seed = (trainer.options.seed &+ UInt64(trainer.stepsDone)) & SamplingParameters.mostSeed
            request.parameters.maxLength = min(256, trainer.description.contextLength)
            request.text.nonemptyOutput = false
            // A model without a token to begin with simply shows no samples.
            isDone = (try? scheduler.add(request)) == nil
        } catch let error as TrainingError {
            throw error
        } catch let error as ModelFileError {
            // Of the disk that the weights went over, not of the model.
            throw .files(error)
        } catch { throw .cannotSample("\(error)") }
    }

    /// One step; the samples that it finished.
    package func step() -> [GeneratedSample] {
        guard !isDone else { return [] }
        var events: [GenerationEvent] = []
        if !scheduler.step(into: &events) { isDone = true }
        return events.compactMap { event in
            switch event {
            case .sample(_, let sample): return sample
            case .finished, .failed, .cancelled:
                isDone = true
                return nil
            case .token: return nil
            }
        }
    }
}
