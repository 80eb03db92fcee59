/// A session with room, as its broker sees it.
package struct PlacementOffer: Sendable, Equatable {
    package var session: SessionID
    /// How many more tasks it may be granted.
    package var freeSlots: Int
    /// It holds no task at all.
    package var idle: Bool
    /// Keys of the models that it has loaded (``Precision/modelKey(checkpoint:)``).
    package var models: Set<String>
    /// Versions of the arithmetic that it computes in, one a precision.
    package var numerics: [String]
    /// Names of the parameters that it knows; empty where it did not say.
    package var parameters: Set<String>

    package init(session: SessionID, freeSlots: Int, idle: Bool, models: Set<String>, numerics: [String], parameters: Set<String> = []) {
        self.numerics = numerics
        self.parameters = parameters
        self.session = session
        self.freeSlots = freeSlots
        self.idle = idle
        self.models = models
    }

    /// Whether it knows the task's parameters, and computes what the task needs: its precision (float32 always), in the version that it is bound to.
    func fits(_ candidate: PlacementCandidate) -> Bool {
        guard parameters.isEmpty || parameters.isSuperset(of: candidate.parameters) else { return false }
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
    /// What a generate's model is rounded to.
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
/// A finetune or an isolated task needs an idle session and takes all of it. Others prefer a session that holds their model in their precision, then
/// the one with most room; equal ones in the order offered. No task goes where one of its parameters, its precision, or the version of it that it is
/// bound to, is not known. Where none is idle, the emptiest that could take the first such task is kept free for it: what comes behind it in line goes
/// elsewhere, or a steady stream of small tasks would never let it run.
package struct Placement: Sendable {
    private var offers: [PlacementOffer]
    /// How many more tasks may find a place.
    package private(set) var room: Int
    /// The index of the offer that is left to become idle, for the first candidate that needs all of one.
    package private(set) var keptFree: Int?

    package init(offers: [PlacementOffer]) {
        self.offers = offers
        room = offers.reduce(0) { $0 + max(0, $1.freeSlots) }
    }

    /// Assigns candidates, in their order, to sessions.
    package static func assign(candidates: [PlacementCandidate], offers: [PlacementOffer]) -> PlacementOutcome {
        var placement = Placement(offers: offers)
        let chosen = candidates.map { placement.place($0) }
        return PlacementOutcome(chosen: chosen, keptFree: placement.keptFree, room: placement.room)
    }

    /// Assigns the next candidate in line.
    /// - Returns: the index of its offer; nil where none can take it now.
    package mutating func place(_ candidate: PlacementCandidate) -> Int? {
        guard room > 0 else { return nil }
        guard let chosen = choose(for: candidate) else {
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
        if let model = candidate.modelKey { offers[chosen].models.insert(model) }
        room -= taken
        return chosen
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

    /// The session that will be idle soonest. What is kept free only grows, so this stays the same one from claim to claim until it is idle.
    private func emptiest(for candidate: PlacementCandidate) -> Int? {
        offers.indices.filter { offers[$0].freeSlots > 0 && offers[$0].fits(candidate) }
            .max { (offers[$0].freeSlots, $1) < (offers[$1].freeSlots, $0) }
    }

    private func choose(for candidate: PlacementCandidate) -> Int? {
        var best: Int?
        var bestScore = (holds: false, slots: 0)
        for (index, offer) in offers.enumerated() where offer.freeSlots > 0 && offer.fits(candidate) {
            guard offer.idle || !candidate.needsIdleSession else { continue }
            let score = (holds: candidate.modelKey.map(offer.models.contains) ?? false, slots: offer.freeSlots)
            let better = score.holds == bestScore.holds ? score.slots > bestScore.slots : score.holds
            if best == nil || better { (best, bestScore) = (index, score) }
        }
        return best
    }
}
