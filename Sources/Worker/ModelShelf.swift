import Generation
package import Kernels
import LanguageModels
package import TaskProtocol
import Tokenizers

/// A model in memory, with the tokenizer that came with it.
struct LoadedModel: Sendable {
    let model: LanguageModel
    let tokenizer: Tokenizer
    let lineByLine: Bool
    /// What cuts texts into parts where its config says so.
    let schema: Schema?
}

/// Which model: equal weights may come with another tokenizer or config, or be rounded to another precision, and are then
/// another model here.
struct ModelIdentity: Hashable {
    /// The checkpoint digest.
    let checkpoint: String
    /// The digest of the manifest of its files.
    let manifest: String
    /// What its matrices are kept as.
    let precision: Precision

    init(_ model: ResolvedModel, _ precision: Precision) { (checkpoint, manifest, self.precision) = (model.sha256, model.manifest, precision) }

    /// By which brokers know the model.
    var key: String { precision.modelKey(checkpoint: checkpoint) }
}

extension WeightPrecision {
    /// A task's precision as the engine knows it.
    package init(_ precision: Precision) {
        switch precision {
        case .float32: self = .float32
        case .bfloat16: self = .bfloat16
        case .int8: self = .int8
        }
    }
}

/// A model at work: its scheduler, and which of its requests belongs to which lease.
final class ModelSeat {
    let identity: ModelIdentity
    let loaded: LoadedModel
    let scheduler: BatchScheduler
    var leases: [Generation.RequestID: LeaseID] = [:]
    /// Requests of no task: the one token of a preload.
    var passes: [Generation.RequestID: Preload] = [:]
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

    var isIdle: Bool { leases.isEmpty && verifications == 0 && passes.isEmpty }

    /// What reads texts with this model.
    func verifier() throws(ModelError) -> Verifier {
        if let kept { return kept }
        let made = try Verifier(model: loaded.model, tokenizer: loaded.tokenizer, pool: pool)
        kept = made
        return made
    }
}

/// The models in memory, each in the precisions that were asked for; above a bound the least recently used idle ones go.
struct ModelShelf {
    private(set) var seats: [ModelSeat] = []
    let byteLimit: Int

    init(byteLimit: Int) { self.byteLimit = byteLimit }

    /// By which brokers know what is here.
    var keys: [String] { seats.map(\.identity.key) }

    /// The seat of a model, marked as used now.
    func seat(_ identity: ModelIdentity, now: Milliseconds) -> ModelSeat? {
        guard let seat = seats.first(where: { $0.identity == identity }) else { return nil }
        seat.lastUsed = now
        return seat
    }

    /// Whether a model fits beside those that something runs on. One alone always does: else nobody could run it.
    func hasRoom(for byteCount: Int) -> Bool {
        let busy = seats.reduce(0) { $0 + ($1.isIdle ? 0 : $1.loaded.model.weightsByteCount) }
        return busy == 0 || busy + byteCount <= byteLimit
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
