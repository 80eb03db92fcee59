internal import TaskProtocol

/// A worker that gets nothing from other queues until it is idle, for the sake of a task that needs all of one.
struct KeptFree: Sendable {
    /// Where the task stands in line.
    var queue: String
    var session: SessionID
    /// When it is given up, unless a claim of the queue names a worker again.
    var until: Int64
}

/// Who gets work: free room is offered to the queues' lines, and to tasks as they are inserted.
extension BrokerCore {
    /// Starts a scan where there is work, room and nothing under way.
    mutating func dispatch() {
        guard isReady, !lanes.isBusy(.claim), now >= claimsRestUntil, sessions.credit > 0 else { return }
        // Where only the worker that is kept free has room, no other queue is asked about.
        let only = keptFree.flatMap { offers(to: nil).isEmpty ? $0.queue : nil }
        guard let queue = queues.next(generation: sessions.generation, only: only) else { return }
        lanes.add(.claim(queue: queue, reserved: []), to: .claim)
    }

    /// The request for a scan; nil where the room went meanwhile.
    mutating func claimRequest(_ queue: String) -> (StoreWork, StoreRequest)? {
        var passed = queues.start(queue, generation: sessions.generation)
        // Behind what stands first in line nothing takes the worker that is kept free for it.
        var offers = offers(to: passed == nil ? queue : nil)
        if offers.isEmpty, queues.frontIsDue(queue, generation: sessions.generation) {
            // That worker has all the room there is, and may be idle by now.
            (passed, offers) = (nil, self.offers(to: queue))
        }
        let room = offers.reduce(0) { $0 + $1.freeSlots }
        guard room > 0 else { return nil }
        // Before the room is reserved for this very scan: what it may take stands before nobody yet.
        let costs = modelCosts.costs(sessions, besides: sessionKeptFree, now: now)
        for offer in offers { sessions.reserve(offer.session, offer.freeSlots) }
        queues.scanning(queue)
        scanGeneration = sessions.generation
        let names = (0..<min(room, settings.claimGrants)).map { _ in random.lease() }
        let request = ClaimRequest(
            broker: id, queue: queue, offers: offers, leases: names, fromRank: queues[queue].lowWater, behind: passed, limit: settings.claimWindow,
            lastClient: queues[queue].lastClient,
            looksFarther: passed == nil && queues.looksFarther(queue, now: now, every: settings.sweepInterval),
            costs: costs)
        return (.claim(queue: queue, reserved: offers), .claim(request))
    }

    mutating func claimed(_ reply: ClaimReply, to request: ClaimRequest, reserved: [PlacementOffer]) {
        let isSameRoom = sessions.generation == scanGeneration
        for offer in reserved { sessions.unreserve(offer.session, offer.freeSlots) }
        queues.scanned(reply, behind: request.behind, generation: sessions.generation, isSameRoom: isSameRoom)
        if request.behind == nil, reply.keptFree != nil || !reply.ranOut { keep(reply.keptFree, for: reply.queue) }
        for grant in reply.grants { granted(grant) }
    }

    /// A scan failed: its offers are free again, and the next scan looks at everything.
    mutating func claimFailed(reserved: [PlacementOffer]) {
        for offer in reserved { sessions.unreserve(offer.session, offer.freeSlots) }
        queues.forgetMarks()
        // What made it fail may stand for a while.
        claimsRestUntil = now + settings.storeRetry
    }

    // MARK: A worker to itself

    /// The room for a queue's tasks, or, where none is named, for tasks as they are inserted: that of all workers but the one which is left to become
    /// idle for a task of another queue.
    private func offers(to queue: String?) -> [PlacementOffer] {
        guard let kept = sessionKeptFree, keptFree?.queue != queue else { return sessions.offers(now: now) }
        return sessions.offers(now: now).filter { $0.session != kept }
    }

    private var sessionKeptFree: SessionID? { keptFree.flatMap { now < $0.until ? $0.session : nil } }

    /// Within its own line a claim passes over the worker that it leaves to become idle; the other queues are kept from it here. One worker at a time,
    /// and for as long as each claim of that queue says so again.
    private mutating func keep(_ session: SessionID?, for queue: String) {
        if let kept = keptFree, kept.queue != queue, now < kept.until { return }
        let before = keptFree
        keptFree = session.map { KeptFree(queue: queue, session: $0, until: now + settings.keptFree) }
        if before != nil, before?.session != keptFree?.session { sessions.roomCameBack() }
    }

    /// Where nothing stands in line any more that a worker is kept free for, it is not.
    mutating func keepFree(forOneOf waiting: [WaitingQueue]) {
        guard let kept = keptFree, !waiting.contains(where: { $0.name == kept.queue && !$0.paused }) else { return }
        keptFree = nil
        sessions.roomCameBack()
    }

    // MARK: Claim at insert

    /// Gives a batch of submits the leases that would start its tasks in their own transaction, where there is room and nothing in line before them.
    mutating func offerSlots(_ submits: inout [PendingSubmit]) {
        let offers = offers(to: nil)
        guard !offers.isEmpty else { return }
        let asksForNames = sessions.someLackNames
        var places: [(submit: Int, item: Int)] = []
        var candidates: [PlacementCandidate] = []
        for (index, submit) in submits.enumerated() {
            for (place, item) in submit.group.items.enumerated() where takesOffer(item) {
                places.append((index, place))
                let name = item.submission.parameters.modelName
                candidates.append(
                    PlacementCandidate(
                        task: item.id, kind: item.submission.kind, model: name.flatMap { modelNames.digest($0) },
                        precision: item.submission.parameters.precision, isolated: false,
                        parameters: asksForNames ? item.submission.parameters.usedNames : []))
            }
        }
        let costs = modelCosts.costs(sessions, besides: sessionKeptFree, now: now)
        for (candidate, chosen) in Placement.assign(candidates: candidates, offers: offers, costs: costs).chosen.enumerated() {
            guard let chosen else { continue }
            let place = places[candidate]
            let session = offers[chosen].session
            sessions.reserve(session, Self.room(for: candidates[candidate].kind))
            submits[place.submit].group.items[place.item].grant = GrantOffer(session: session, lease: random.lease(), broker: id)
        }
    }

    private func takesOffer(_ item: SubmitItem) -> Bool {
        // What is sent again keeps the lease that it was offered.
        guard item.grant == nil, item.submission.after.isEmpty, queues.takesClaimAtInsert(item.submission.queue) else { return false }
        // Only the store knows which model, in which precision, made the texts that a verify is about.
        guard item.submission.kind != .verify else { return false }
        return item.submission.runAt.map { $0 <= wallClock() } ?? true
    }

    /// A finetune takes a whole worker, however many slots that has.
    private static func room(for kind: TaskKind) -> Int { kind == .finetune ? 100_000 : 1 }

    /// Takes back what ``offerSlots(_:)`` reserved for a submit.
    /// - Parameter used: how many of its tasks were leased as they were inserted.
    mutating func withdrawOffers(_ submit: inout PendingSubmit, used: Int = 0) {
        var offered = 0
        for index in submit.group.items.indices {
            guard let offer = submit.group.items[index].grant else { continue }
            sessions.unreserve(offer.session, Self.room(for: submit.group.items[index].submission.kind))
            submit.group.items[index].grant = nil
            offered += 1
        }
        if offered > used { sessions.roomCameBack() }
    }
}
