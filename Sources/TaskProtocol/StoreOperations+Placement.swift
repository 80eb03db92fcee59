/// A session with room, as its broker sees it.
package struct PlacementOffer: Sendable, Equatable {
    package var session: SessionID
    /// How many more tasks it may be granted: what runs at once, and as many as `slots` to wait.
    package var freeSlots: Int
    /// Sequences that it runs at once.
    package var slots: Int
    /// It holds no task at all.
    package var idle: Bool
    /// Keys of the models that it has loaded (``Precision/modelKey(checkpoint:)``).
    package var models: Set<String>
    /// Keys of the models that it was asked for and has not loaded yet.
    package var loading: Set<String>
    /// Keys of the models whose tasks it gave back not long ago: it has no room for them, is still loading them, or cannot get them. Beside them the last
    /// tasks that it gave back which need all of a worker (``avoidance(of:)``).
    package var avoids: Set<String>
    /// When it last gave back a task that needs all of a worker, by the broker's clock: whoever never did, or did longest ago, comes first.
    package var gaveBack: [TaskID: Int64]
    /// Versions of the arithmetic that it computes in, one a precision.
    package var numerics: [String]
    /// Names of the parameters that it knows; empty where it did not say.
    package var parameters: Set<String>

    package init(
        session: SessionID, freeSlots: Int, slots: Int = 0, idle: Bool, models: Set<String>, loading: Set<String> = [], avoids: Set<String> = [],
        gaveBack: [TaskID: Int64] = [:], numerics: [String], parameters: Set<String> = []
    ) {
        self.gaveBack = gaveBack
        self.slots = slots
        self.loading = loading
        self.avoids = avoids
        self.numerics = numerics
        self.parameters = parameters
        self.session = session
        self.freeSlots = freeSlots
        self.idle = idle
        self.models = models
    }

    /// What stands for one task among ``avoids``.
    package static func avoidance(of task: TaskID) -> String { "task \(task)" }

    /// Whether the next task would run there at once, and not wait for a slot.
    fileprivate var hasFreeSlot: Bool { freeSlots > slots }

    /// 0 where it never gave the task back.
    fileprivate func lastGaveBack(_ task: TaskID) -> Int64 { gaveBack.isEmpty ? 0 : gaveBack[task] ?? 0 }

    /// Whether it knows the task's parameters, and computes what the task needs: its precision (float32 always), in the version that it is bound to.
    func fits(_ candidate: PlacementCandidate) -> Bool {
        guard parameters.isEmpty || parameters.isSuperset(of: candidate.parameters) else { return false }
        if !avoids.isEmpty {
            if let key = candidate.modelKey, avoids.contains(key) { return false }
            if candidate.needsIdleSession, avoids.contains(Self.avoidance(of: candidate.task)) { return false }
        }
        guard candidate.precision == .float32 || NumericsPreference.version(of: candidate.precision, in: numerics) != nil else { return false }
        return candidate.numerics.map(numerics.contains) ?? true
    }
}

/// A waiting task, as far as placing it needs.
package struct PlacementCandidate: Sendable, Equatable {
    package var task: TaskID
    package var kind: TaskKind
    /// Digest of the checkpoint it runs on.
    package var model: String?
    /// What a generate's model is rounded to, or that of a verify's texts.
    package var precision: Precision
    /// It must run with no batch mates.
    package var isolated: Bool
    /// The version of the arithmetic that it has to be run in; nil where any will do.
    package var numerics: String?
    /// Names of the parameters that it uses; those that every offer knows may be left out (``Placement/knownToAll(_:)``).
    package var parameters: Set<String>

    package init(
        task: TaskID, kind: TaskKind, model: String?, precision: Precision = .float32, isolated: Bool, numerics: String? = nil,
        parameters: Set<String> = []
    ) {
        self.numerics = numerics
        self.parameters = parameters
        self.task = task
        self.kind = kind
        self.model = model
        self.precision = precision
        self.isolated = isolated
    }

    /// Its model as workers announce it.
    var modelKey: String? { model.map(precision.modelKey) }

    /// Whether it takes a whole worker.
    package var needsIdleSession: Bool { isolated || kind == .finetune }
}

/// What became of some candidates.
package struct PlacementOutcome: Sendable, Equatable {
    /// For each candidate the index of its offer, or nil where none can take it now.
    package var chosen: [Int?]
    /// The index of the offer that is left to become idle, for the first candidate that needs all of one.
    package var keptFree: Int?
    /// How many more might have found a place.
    package var room: Int
}

/// Who runs what. Pure, and the same in production and simulation.
///
/// A finetune or an isolated task needs an idle session and takes all of it. Others prefer a session with a free slot, then one that holds their model in
/// their precision, then the one with most room; equal ones in the order offered. Where it is known what loading the model takes, a task goes to a session
/// that does not hold it only if it would wait longer for one that does, what it has waited already counted in. No task goes where one of its parameters, its precision, or the version of it that it is
/// bound to, is not known. Where none is idle, the emptiest that could take the first such task is kept free for it: what comes behind it in line goes
/// elsewhere, or a steady stream of small tasks would never let it run.
package struct Placement: Sendable {
    private var offers: [PlacementOffer]
    private var costs: [String: ModelCost]
    /// Tasks of each model that are left to wait. Of so many that stand in line, however short each is, a claim looks at no more than needed to see that a
    /// second worker is worth its while.
    private var deferred: [String: Int] = [:]
    private static let mostDeferred = 256
    /// How many more tasks may find a place.
    package private(set) var room: Int
    /// The index of the offer that is left to become idle, for the first candidate that needs all of one.
    package private(set) var keptFree: Int?

    /// - Parameter costs: by model, where they are known.
    package init(offers: [PlacementOffer], costs: [String: ModelCost] = [:]) {
        self.offers = offers
        self.costs = costs
        room = offers.reduce(0) { $0 + max(0, $1.freeSlots) }
    }

    /// Assigns candidates, in their order, to sessions.
    package static func assign(
        candidates: [PlacementCandidate], offers: [PlacementOffer], costs: [String: ModelCost] = [:]
    ) -> PlacementOutcome {
        var placement = Placement(offers: offers, costs: costs)
        let chosen = candidates.map { placement.place($0) }
        return PlacementOutcome(chosen: chosen, keptFree: placement.keptFree, room: placement.room)
    }

    /// Assigns the next candidate in line.
    /// - Parameter waited: how long it has been due, in milliseconds.
    /// - Returns: the index of its offer; nil where none can take it now, or it had better wait for one that holds its model.
    package mutating func place(_ candidate: PlacementCandidate, waited: Int64 = 0) -> Int? {
        guard room > 0 else { return nil }
        guard let chosen = candidate.needsIdleSession ? chooseIdle(for: candidate) : chooseByCost(for: candidate, waited: waited) else {
            if candidate.needsIdleSession, keptFree == nil, let kept = emptiest(for: candidate) {
                room -= offers[kept].freeSlots
                offers[kept].freeSlots = 0
                keptFree = kept
            }
            return nil
        }
        let taken = candidate.needsIdleSession ? offers[chosen].freeSlots : 1
        offers[chosen].freeSlots -= taken
        offers[chosen].idle = false
        if let model = candidate.modelKey, !offers[chosen].models.contains(model) {
            if costs[model] == nil || candidate.needsIdleSession { offers[chosen].models.insert(model) } else { offers[chosen].loading.insert(model) }
        }
        room -= taken
        return chosen
    }

    /// Compares waiting for a session that holds the model with loading it elsewhere.
    private mutating func chooseByCost(for candidate: PlacementCandidate, waited: Int64) -> Int? {
        guard let key = candidate.modelKey, let cost = costs[key], let wait = cost.wait else { return choose(for: candidate) }
        let holder = best(for: candidate) { $0.models.contains(key) }
        let loading = best(for: candidate) { $0.loading.contains(key) }
        // It has to be worth its while: what would only queue there, too, is no gain.
        let cold = best(for: candidate) { !$0.models.contains(key) && !$0.loading.contains(key) && $0.hasFreeSlot }
        let elsewhere = loading.map { (index: $0, time: cost.loadedIn ?? cost.load) } ?? cold.map { (index: $0, time: cost.load) }
        if holder == nil {
            // Those that hold the model may not do for this task, or stand still: it has waited long enough for them.
            if waited > 2 * cost.load + wait { return choose(for: candidate) }
            if let elsewhere, waited + wait > elsewhere.time || deferred[key, default: 0] >= Self.mostDeferred { return elsewhere.index }
            deferred[key, default: 0] += 1
        } else if let elsewhere, wait > elsewhere.time {
            return elsewhere.index
        }
        costs[key]?.held += 1
        return holder
    }

    /// Of the sessions that fit and have room, the one with most of it.
    private func best(for candidate: PlacementCandidate, where isMeant: (PlacementOffer) -> Bool) -> Int? {
        var best: Int?
        for (index, offer) in offers.enumerated() where offer.freeSlots > (best.map { offers[$0].freeSlots } ?? 0) {
            if isMeant(offer), offer.fits(candidate) { best = index }
        }
        return best
    }

    /// The parameters that all offers know that say what they know; nil where none does. Whoever looks for what stands between tasks and offers need
    /// only ask for the names beyond these: hardly ever any, but while a release is rolled out.
    package static func knownToAll(_ offers: [PlacementOffer]) -> Set<String>? {
        offers.reduce(nil) { known, offer in
            if offer.parameters.isEmpty { return known }
            // Sessions of one release say the same.
            return known.map { $0 == offer.parameters ? $0 : $0.intersection(offer.parameters) } ?? offer.parameters
        }
    }

    /// The session that will be idle soonest, of those that did not give the task back lately. What is kept free only grows, so this stays the same one
    /// from claim to claim until it is idle.
    private func emptiest(for candidate: PlacementCandidate) -> Int? {
        func rank(_ index: Int) -> (Int64, Int, Int) { (offers[index].lastGaveBack(candidate.task), -offers[index].freeSlots, index) }
        return offers.indices.filter { offers[$0].freeSlots > 0 && offers[$0].fits(candidate) }.min { rank($0) < rank($1) }
    }

    /// Of the idle sessions, one that never gave the task back, or did longest ago.
    private func chooseIdle(for candidate: PlacementCandidate) -> Int? {
        func rank(_ index: Int) -> (Int64, Int, Int, Int) {
            let offer = offers[index]
            let holds = candidate.modelKey.map(offer.models.contains) ?? false
            return (offer.lastGaveBack(candidate.task), holds ? 0 : 1, -offer.freeSlots, index)
        }
        return offers.indices.filter { offers[$0].idle && offers[$0].freeSlots > 0 && offers[$0].fits(candidate) }.min { rank($0) < rank($1) }
    }

    private func choose(for candidate: PlacementCandidate) -> Int? {
        var best: Int?
        var bestScore = (runs: 0, holds: 0, slots: 0)
        for (index, offer) in offers.enumerated() where offer.freeSlots > 0 && offer.fits(candidate) {
            let holds = candidate.modelKey.map(offer.models.contains) ?? false
            let score = (runs: offer.hasFreeSlot ? 1 : 0, holds: holds ? 1 : 0, slots: offer.freeSlots)
            if best == nil || score > bestScore { (best, bestScore) = (index, score) }
        }
        return best
    }
}
