import Generation
import Kernels
import LanguageModels
import TaskProtocol
import Tokenizers

/// A model in memory, with the tokenizer that came with it.
struct LoadedModel: Sendable {
    let model: LanguageModel
    let tokenizer: Tokenizer
    let lineByLine: Bool
    /// What cuts texts into parts where its config says so.
    let schema: Schema?
}

/// Which model: equal weights may come with another tokenizer or config, and are then another model here.
struct ModelIdentity: Equatable {
    /// The checkpoint digest, by which brokers know the model.
    let checkpoint: String
    /// The digest of the manifest of its files.
    let manifest: String

    init(_ model: ResolvedModel) { (checkpoint, manifest) = (model.sha256, model.manifest) }
}

/// A model at work: its scheduler, and which of its requests belongs to which lease.
final class ModelSeat {
    let identity: ModelIdentity
    let loaded: LoadedModel
    let scheduler: BatchScheduler
    var leases: [Generation.RequestID: LeaseID] = [:]
    /// Verifications that run on it; the verifier's memory is given back with the last.
    var verifications = 0 {
        didSet { if verifications == 0 { kept = nil } }
    }
    private var kept: Verifier?
    private let pool: ThreadPool
    fileprivate(set) var lastUsed: Milliseconds = 0

    init(identity: ModelIdentity, loaded: LoadedModel, slots: Int, pool: ThreadPool) throws(ModelError) {
        self.identity = identity
        self.loaded = loaded
        self.pool = pool
        scheduler = try BatchScheduler(model: loaded.model, tokenizer: loaded.tokenizer, pool: pool, options: SchedulerOptions(slots: slots))
    }

    var isIdle: Bool { leases.isEmpty && verifications == 0 }

    /// What reads texts with this model.
    func verifier() throws(ModelError) -> Verifier {
        if let kept { return kept }
        let made = try Verifier(model: loaded.model, tokenizer: loaded.tokenizer, pool: pool)
        kept = made
        return made
    }
}

/// The models in memory, by checkpoint digest; above a bound the least recently used idle ones go.
struct ModelShelf {
    private(set) var seats: [ModelSeat] = []
    let byteLimit: Int

    init(byteLimit: Int) { self.byteLimit = byteLimit }

    var digests: [String] { seats.map(\.identity.checkpoint) }

    /// The seat of a model, marked as used now.
    func seat(_ identity: ModelIdentity, now: Milliseconds) -> ModelSeat? {
        guard let seat = seats.first(where: { $0.identity == identity }) else { return nil }
        seat.lastUsed = now
        return seat
    }

    /// Puts a model on the shelf, after making room.
    mutating func add(_ seat: ModelSeat, now: Milliseconds) {
        seat.lastUsed = now
        var bytes = seats.reduce(seat.loaded.model.weightsByteCount) { $0 + $1.loaded.model.weightsByteCount }
        while bytes > byteLimit, let oldest = seats.indices.filter({ seats[$0].isIdle }).min(by: { seats[$0].lastUsed < seats[$1].lastUsed }) {
            bytes -= seats[oldest].loaded.model.weightsByteCount
            seats.remove(at: oldest)
        }
        seats.append(seat)
    }

    /// Frees every model that nothing runs on: a finetune needs the memory.
    mutating func dropIdle() { seats.removeAll(where: \.isIdle) }
}
