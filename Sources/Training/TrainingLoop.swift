package import Generation
package import Kernels
package import Tokenizers

/// Drives a trainer from step to step, with checkpoints and samples on schedule, for whoever has the thread to itself.
package struct TrainingLoop {
    package let trainer: Trainer
    let tokenizer: Tokenizer
    let pool: ThreadPool
    /// The folder of the checkpoint.
    package let output: String
    /// What an adapter's config says of its base.
    let baseName: String?
    /// A checkpoint every so many steps; 0: at the end only.
    let saveEvery: Int
    /// Samples every so many steps; 0: never.
    let generateEvery: Int
    /// Texts each time.
    let samples: Int

    package init(
        trainer: Trainer, tokenizer: Tokenizer, pool: ThreadPool, output: String, baseName: String?, saveEvery: Int, generateEvery: Int, samples: Int
    ) {
        (self.trainer, self.tokenizer, self.pool) = (trainer, tokenizer, pool)
        (self.output, self.baseName) = (output, baseName)
        (self.saveEvery, self.generateEvery, self.samples) = (saveEvery, samples > 0 ? generateEvery : 0, samples)
    }

    /// Trains to the last step, or to where it is stopped, and saves the state there.
    /// - Parameters:
    ///   - each: takes the figures of every step.
    ///   - sample: takes every sample text, in order.
    ///   - isStopped: asked after every step.
    /// - Returns: the checkpoint of the last step done.
    package func run(
        each: (TrainingStep) -> Void, sample: (GeneratedSample) -> Void, isStopped: () -> Bool
    ) throws(TrainingError) -> SavedCheckpoint {
        var saved: SavedCheckpoint?
        while trainer.stepsDone < trainer.totalSteps {
            let step = try trainer.step()
            each(step)
            saved = nil
            if saveEvery > 0, step.step % saveEvery == 0 { saved = try save() }
            if generateEvery > 0, step.step % generateEvery == 0 { try takeSamples(sample) }
            if isStopped() { break }
        }
        if let saved { return saved }
        return try save()
    }

    private func save() throws(TrainingError) -> SavedCheckpoint {
        try trainer.saveCheckpoint(directory: output, tokenizer: tokenizer, baseName: baseName)
    }

    private func takeSamples(_ take: (GeneratedSample) -> Void) throws(TrainingError) {
        let run = try SamplingRun(trainer: trainer, tokenizer: tokenizer, count: samples, folder: output + ".sampling", pool: pool)
        while !run.isDone { run.step().forEach(take) }
    }
}
