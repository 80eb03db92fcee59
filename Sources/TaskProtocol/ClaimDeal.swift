/// A task that waits in line, as a claim's scan sees it.
package struct LinePlace: Sendable, Equatable {
    package var task: TaskID
    package var rank: Int64
    package var client: String

    package init(task: TaskID, rank: Int64, client: String) {
        self.task = task
        self.rank = rank
        self.client = client
    }
}

/// A task that waits in line and is locked, as far as leasing it needs.
package struct ClaimCandidate: Sendable {
    /// All but its session and lease.
    package var grant: Grant
    /// What its worker must have; nil where that is a later release's to say: the task stays in line for its brokers.
    package var needs: PlacementNeeds?
    /// What the worker of its first attempt computed in; empty where it is the first.
    package var pastNumerics: [String]
    /// Where it may run, going by those.
    package var preference = NumericsPreference.none

    package init(grant: Grant, needs: PlacementNeeds?, pastNumerics: [String]) {
        self.grant = grant
        self.needs = needs
        self.pastNumerics = pastNumerics
    }
}

/// The room of one claim on its way to the clients, who take turns. Pure, and the same in production and simulation.
///
/// A scan sees the line without locks; ``next()`` says whom to lock, in turns; ``place(_:_:)`` takes what could be locked, which need not be all of it:
/// since the scan others may have taken some, or hold a row for another reason; ``reply(keeping:)`` is what the broker is told.
package struct ClaimDeal: Sendable {
    private let request: ClaimRequest
    private let near: [LinePlace]
    private let offers: [PlacementOffer]
    private var line: ArraySlice<LinePlace>
    private var leases: ArraySlice<LeaseID>
    private var placement: Placement
    private var lastClient: String?
    private var bite: Int
    /// What is not in line for this broker any more: leased here, taken by somebody else, or a later release's.
    private var gone: Set<TaskID> = []
    package private(set) var grants: [Grant] = []
    /// What could not be locked.
    package private(set) var passedOver: [TaskID] = []

    /// - Parameters:
    ///   - near: the window that was scanned, by rank and task.
    ///   - farther: of what stands behind a full window, the first of clients that have nothing in it.
    ///   - isLive: whether a session stands; room of others is nobody's.
    ///   - room: how many leases the queue's limit leaves.
    package init(_ request: ClaimRequest, near: [LinePlace], farther: [LinePlace], isLive: (SessionID) -> Bool, room: Int = .max) {
        self.request = request
        self.near = near
        let seen = farther.isEmpty ? near : near + farther
        line = FairShare.order(seen.map(\.client), after: request.lastClient).map { seen[$0] }[...]
        offers = request.offers.filter { isLive($0.session) }
        leases = request.leases.prefix(room)
        placement = Placement(offers: offers, costs: request.costs)
        bite = min(leases.count, placement.room)
    }

    /// Where some of what there is room for is taken, or finds no place, twice as much follows, and so much at least.
    private static let secondBite = 16

    /// How many more may be leased.
    private var room: Int { min(leases.count, placement.room) }

    /// Those whose turn is next, to be locked: at first as many as there is room for, so that others find what follows.
    /// - Returns: nothing where the line ends, or no room is left.
    package mutating func next() -> ArraySlice<LinePlace> {
        guard room > 0 else { return [] }
        let places = line.prefix(bite)
        line = line.dropFirst(bite)
        bite = max(Self.secondBite, 2 * bite)
        return places
    }

    /// Leases what finds a place.
    package mutating func place(_ places: ArraySlice<LinePlace>, _ candidates: [TaskID: ClaimCandidate]) {
        for place in places {
            guard let candidate = candidates[place.task] else {
                passedOver.append(place.task)
                continue
            }
            guard let needs = candidate.needs else {
                gone.insert(place.task)
                continue
            }
            guard let lease = leases.first else { continue }
            let placed = PlacementCandidate(
                task: place.task, kind: candidate.grant.kind, model: needs.model, precision: needs.precision,
                isolated: candidate.grant.isolated, numerics: candidate.preference.required, parameters: needs.parameters)
            guard let offer = placement.place(placed, waited: candidate.grant.waitedMilliseconds ?? 0) else { continue }
            leases = leases.dropFirst()
            var grant = candidate.grant
            (grant.session, grant.lease) = (offers[offer].session, lease)
            if grant.kind != .finetune { grant.modelKey = needs.modelKey }
            grant.newNumerics = candidate.preference.replacement(offers[offer].numerics)
            grants.append(grant)
            gone.insert(place.task)
            lastClient = place.client
        }
    }

    /// What the claim found.
    /// - Parameter waiting: of what could not be locked, that which stands in line all the same: somebody only looked at it, and it is still to be leased.
    package func reply(keeping waiting: Set<TaskID>) -> ClaimReply {
        let gone = gone.union(passedOver.lazy.filter { !waiting.contains($0) })
        let isExhausted = near.count < request.limit
        let sawAll = line.isEmpty && room > 0 && passedOver.allSatisfy(gone.contains)
        // The mark never passes a task that waits: it stops at the first that was not placed, or at the last that was seen.
        let standing = near.filter { !gone.contains($0.task) }
        return ClaimReply(
            queue: request.queue, grants: grants, exhausted: isExhausted, lowWater: (standing.first ?? near.last)?.rank ?? request.fromRank,
            lastSeen: isExhausted || !sawAll ? nil : near.last.map { LinePosition(rank: $0.rank, task: $0.task) },
            unplaced: standing.count, heldBack: false, lastClient: lastClient, keptFree: placement.keptFree.map { offers[$0].session },
            ranOut: leases.isEmpty && placement.room > 0)
    }
}
