import Generation
import Glibc
import Kernels
import LanguageModels
import ModelFiles
import Tokenizers

/// A model, its tokenizer and threads in this process, for the commands that need no service.
struct LocalEngine {
    let pool: ThreadPool
    let model: LanguageModel
    let tokenizer: Tokenizer?
    /// The markers that the model's config names.
    let schema: Schema?

    /// - Parameters:
    ///   - path: a Hugging Face directory.
    ///   - precision: what its matrices are rounded to.
    ///   - threads: nil: one a processor.
    /// - Throws: ``CommandFailure/usage(_:)`` where the directory or SCRIPTORIUM_ISA is wrong.
    init(model path: String, precision: WeightPrecision, threads: Int?) throws {
        let chosen = try InstructionSet.chosen()
        do {
            let directory = try ModelDirectory.open(path)
            pool = ThreadPool(threads: threads ?? sysconf(Int32(_SC_NPROCESSORS_ONLN)), instructionSet: chosen)
            schema = Schema(config: directory.config)
            tokenizer = try directory.tokenizerPath.map { try Tokenizer.load(path: $0) }
            var bar = ProgressBar(total: 100, label: "loading")
            model = try LanguageModel.load(directory, precision: precision, pool: pool) { share in bar.update(Int(share * 100)) }
            bar.finish()
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }

    /// The tokenizer beside the model.
    func requiredTokenizer() throws -> Tokenizer {
        guard let tokenizer else {
            throw CommandFailure.usage("the model directory holds no tokenizer.json and no vocab.json with merges.txt")
        }
        return tokenizer
    }

    /// Runs one request to its end.
    /// - Throws: ``CommandFailure/usage(_:)`` where the request is wrong, `.failed` where the model is.
    func generate(_ request: GenerationRequest, slots: Int) throws -> [GeneratedSample] {
        let scheduler = try accepted(request, slots: slots)
        var samples: [GeneratedSample] = []
        var events: [GenerationEvent] = []
        var bar = ProgressBar(total: request.prompts.count * request.n, label: "generating")
        while scheduler.step(into: &events) {
            for event in events {
                switch event {
                case .sample(_, let sample): samples.append(sample)
                case .failed(_, let error): throw CommandFailure.failed("\(error)")
                default: break
                }
            }
            events.removeAll(keepingCapacity: true)
            bar.update(samples.count)
        }
        bar.finish()
        return samples
    }

    private func accepted(_ request: GenerationRequest, slots: Int) throws -> BatchScheduler {
        do {
            let scheduler = try BatchScheduler(
                model: model, tokenizer: try requiredTokenizer(), pool: pool, options: SchedulerOptions(slots: slots))
            _ = try scheduler.add(request)
            return scheduler
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.usage("\(error)")
        }
    }
}
