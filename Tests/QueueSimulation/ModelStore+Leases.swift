package import TaskProtocol

/// Sessions and the leases that live as long as they do.
extension ModelStore {
    static func lease(_ task: inout ModelTask, _ lease: LeaseID, _ session: SessionID) {
        task.attempt += 1
        task.state = .running
        (task.lease, task.session) = (lease, session)
        task.isolated = task.losses >= 2
    }

    func grant(_ task: ModelTask, waited: Int64? = nil) -> Grant {
        Grant(
            task: task.id, lease: task.lease ?? UUIDValue(hi: 0, lo: 0), session: task.session ?? UUIDValue(hi: 0, lo: 0), attempt: task.attempt,
            failures: task.failures, kind: task.kind, queue: task.queue, isolated: task.isolated, maxAttempts: task.maxAttempts,
            timeoutSeconds: task.timeoutSeconds, resolved: task.resolved ?? [], resume: task.resume,
            waitedMilliseconds: waited)
    }

    /// What a claim saw of a line before it locked anything.
    package struct ClaimScan: Sendable {
        var near: [LinePlace]
        var farther: [LinePlace]
    }

    mutating func claim(_ request: ClaimRequest) -> ClaimReply { lease(request, scan(request), now: now) }

    /// A claim's first step: it looks, and locks nothing.
    package func scan(_ request: ClaimRequest) -> ClaimScan {
        let from = request.fromRank ?? Int64.min
        let line = tasks.values.filter { task in
            let isInReach = request.behind.map { ($0.rank, $0.task) < (task.rank, task.id) } ?? (task.rank >= from)
            return task.queue == request.queue && isFree(task) && isInReach
        }.sorted {
            ($0.rank, $0.id) < ($1.rank, $1.id)
        }.map { LinePlace(task: $0.id, rank: $0.rank, client: $0.client) }
        let near = Array(line.prefix(request.limit))
        guard near.count == request.limit, request.looksFarther, request.behind == nil else { return ClaimScan(near: near, farther: []) }
        let known = Set(near.map(\.client))
        let farther = line.dropFirst(request.limit).prefix(10_000).filter { !known.contains($0.client) }
        return ClaimScan(near: near, farther: Array(farther.prefix(request.leases.count)))
    }

    private func isFree(_ task: ModelTask) -> Bool { task.isInLine || (mutation == .claimOfRunningTask && task.state == .running) }

    /// Its second step: what still waits, and whose row nobody else holds, is locked and leased.
    /// - Parameter now: the database's time.
    package mutating func lease(_ request: ClaimRequest, _ scan: ClaimScan, now: Int64) -> ClaimReply {
        self.now = now
        var deal = ClaimDeal(
            request, near: scan.near, farther: scan.farther, isLive: { sessions[$0] != nil || mutation == .leaseWithoutSession })
        var places = deal.next()
        while !places.isEmpty {
            deal.place(places, candidates(places, request))
            places = deal.next()
        }
        for grant in deal.grants {
            guard var task = tasks[grant.task] else { continue }
            Self.lease(&task, grant.lease, grant.session)
            if grant.newNumerics != nil { task.numerics = [] }
            write(task)
        }
        return deal.reply(keeping: Set(deal.passedOver.filter { tasks[$0]?.isInLine ?? false }))
    }

    private func candidates(_ places: ArraySlice<LinePlace>, _ request: ClaimRequest) -> [TaskID: ClaimCandidate] {
        // Nothing here uses a name that this version does not know.
        let asksForNames = request.offers.contains { !$0.parameters.isEmpty && !$0.parameters.isSuperset(of: TaskParameters.knownNames) }
        var found: [TaskID: ClaimCandidate] = [:]
        for place in places {
            guard let task = tasks[place.task], isFree(task) || mutation == .claimOfTakenTask, !heldTasks.contains(place.task) else { continue }
            var next = task
            (next.attempt, next.isolated) = (task.attempt + 1, task.losses >= 2)
            var candidate = ClaimCandidate(
                grant: grant(next, waited: waited(task)),
                needs: PlacementNeeds(
                    model: task.model, precision: task.modelPrecision, parameters: asksForNames ? task.parameterNames : []),
                pastNumerics: task.numerics)
            candidate.preference = preference(task, offers: request.offers)
            found[place.task] = candidate
        }
        return found
    }

    /// How long it has been due: since its time, or the end of its last attempt.
    private func waited(_ task: ModelTask) -> Int64 { max(0, now - max(task.runAt, task.lastEnd ?? 0)) }

    /// As in production: where all offers compute as its first worker did, nothing is asked.
    private func preference(_ task: ModelTask, offers: [PlacementOffer]) -> NumericsPreference {
        guard !task.numerics.isEmpty, !offers.allSatisfy({ Set($0.numerics).isSuperset(of: task.numerics) }), let precision = task.precision else {
            return .none
        }
        let alive = Set(sessions.keys.flatMap { numerics[$0] ?? [] })
        return NumericsPreference(past: task.numerics, precision: precision, alive: alive, waited: waited(task))
    }

    func leases(of ids: [SessionID]) -> [HeldLease] {
        let wanted = Set(ids)
        return tasks.values.filter { $0.lease != nil && $0.session.map(wanted.contains) ?? false }.sorted { $0.id < $1.id }
            .map { HeldLease(grant: grant($0), cancelRequested: $0.cancelRequested) }
    }

    // MARK: Processes

    mutating func register(_ registration: BrokerRegistration) -> StoreReply {
        brokers[registration.id] = BrokerRow(
            id: registration.id, counter: brokers[registration.id]?.counter ?? 0, peersEndpoint: registration.endpoints["peers"],
            publicKey: registration.publicKey)
        return .done
    }

    mutating func register(_ registration: SessionRegistration) -> StoreReply {
        let known = sessions[registration.session]
        if mutation != .joiningWhereItWas, let earlier = known ?? endedSessions[registration.session],
            !registration.counts(after: earlier.epoch, publicKey: earlier.publicKey)
        {
            return .refused(SessionRegistration.outranked)
        }
        let counter = known.map { $0.counter + 1 } ?? 0
        sessions[registration.session] = ModelSession(
            counter: counter, broker: registration.broker, epoch: registration.epoch, publicKey: registration.publicKey ?? known?.publicKey)
        numerics[registration.session] = registration.numerics
        return .done
    }

    mutating func beat(_ beat: BeatRequest) -> BeatReply {
        var unknown: [SessionID] = []
        for entry in beat.sessions.sorted(by: { $0.session < $1.session }) {
            guard var session = sessions[entry.session] else {
                unknown.append(entry.session)
                continue
            }
            session.counter += 1
            session.broker = beat.broker
            sessions[entry.session] = session
        }
        let mine = Set(beat.sessions.map(\.session))
        let isKnown = brokers[beat.broker] != nil
        brokers[beat.broker]?.counter += 1
        return BeatReply(
            databaseMilliseconds: now, unknown: unknown,
            counters: sessions.sorted { $0.key < $1.key }.map { SessionCounter(session: $0.key, counter: $0.value.counter, broker: $0.value.broker) },
            cancels: cancels { mine.contains($0) }, brokerKnown: isKnown,
            brokers: brokers.values.sorted { $0.id < $1.id })
    }

    func cancels(_ isWanted: (SessionID) -> Bool) -> [LeaseReference] {
        tasks.values.filter(\.cancelRequested).sorted { $0.id < $1.id }.compactMap { task in
            guard let lease = task.lease, let session = task.session, isWanted(session) else { return nil }
            return LeaseReference(task: task.id, lease: lease, session: session, attempt: task.attempt)
        }
    }

    // MARK: Ends of sessions

    mutating func sweep(_ dead: [DeadSession]) -> SweepReply {
        let still = dead.filter { mutation == .sweepOfBeatingSession || sessions[$0.session]?.counter == $0.counter }
        return end(still.map(\.session).sorted(), lost: true)
    }

    mutating func end(_ ids: [SessionID], lost: Bool) -> SweepReply {
        var reply = SweepReply(ended: [], settled: [])
        for id in ids where sessions[id] != nil {
            let held = tasks.values.filter { $0.session == id && $0.lease != nil }.sorted { $0.id < $1.id }
            // What somebody's transaction holds is left, and the session with it.
            if held.contains(where: { heldTasks.contains($0.id) }), mutation != .sessionEndedWithoutItsLeases {
                reply.standing.append(id)
            } else {
                forget(id)
                reply.ended.append(id)
            }
            if mutation == .sessionEndedWithoutItsLeases { continue }
            for task in held where !heldTasks.contains(task.id) {
                let reference = LeaseReference(task: task.id, lease: task.lease ?? task.id, session: id, attempt: task.attempt)
                let settlement = lose(task, lost: lost)
                if case .recorded(let state, _) = settlement { _ = settleDependents(of: [(task.id, state)]) }
                reply.settled.append(SettledLease(reference: reference, settlement: settlement))
            }
        }
        return reply
    }

    private mutating func forget(_ id: SessionID) {
        guard var ended = sessions.removeValue(forKey: id) else { return }
        if let before = endedSessions[id] {
            ended.epoch = max(ended.epoch, before.epoch)
            ended.publicKey = ended.publicKey ?? before.publicKey
        }
        endedSessions[id] = ended
    }

    private mutating func lose(_ old: ModelTask, lost: Bool) -> Settlement {
        var task = old
        let counted = lost && task.isolated
        if counted { task.failures += 1 }
        if lost { task.losses += 1 }
        let ending = lost ? "lost" : "released"
        if task.cancelRequested { return finish(task, .cancelled, ending, nil) }
        if counted && task.failures >= task.maxAttempts { return finish(task, .failed, ending, ContractError(.lost, "its workers died")) }
        return requeue(task, ending, delay: 0, begun: lost)
    }
}
