internal import Encodings
internal import TaskProtocol

/// What clients ask. Whatever they send, they get an answer that says what was wrong; nothing that they send waits for anybody else.
extension BrokerCore {
    mutating func clientMessage(_ frames: [[UInt8]], _ key: String?, isTruncated: Bool) {
        guard frames.count > 1, let client = frames.first else { return }
        let rest = frames.dropFirst()
        let sizes = rest.map { $0.count }
        do throws(ContractError) {
            if isTruncated { throw ContractError(.tooLarge, "the message has too many frames or bytes: it was not read whole") }
            let envelope = try Envelope.split(frameSizes: sizes)
            let address = ClientAddress(envelope: [client] + rest.prefix(envelope.frameCount), isDelimited: envelope.isDelimited, key: key)
            payload(frames[frames.count - 1], from: address)
        } catch {
            counters.malformedRequests += 1
            let kept = Envelope.salvaged(frameSizes: sizes).frameCount
            let address = ClientAddress(envelope: [client] + rest.prefix(kept), isDelimited: kept > 0, key: key)
            let encoding = rest.last.map { $0.withUnsafeBytes { PayloadEncoding(of: $0) } } ?? .json
            refuse(RequestReference(address: address, id: .none, encoding: encoding), error)
        }
    }

    private mutating func payload(_ payload: [UInt8], from address: ClientAddress) {
        let request = Request.decode(payload, isDelimited: address.isDelimited, maximumBytes: settings.maximumRequestBytes)
        let reference = RequestReference(address: address, id: request.id, encoding: request.encoding)
        switch request.operation {
        case .failure(let error):
            counters.malformedRequests += 1
            refuse(reference, error)
        case .success(let operation):
            counters.requests[operation.name, default: 0] += 1
            perform(operation, reference, byteCount: payload.count)
        }
    }

    private mutating func perform(_ operation: Operation, _ request: RequestReference, byteCount: Int) {
        switch operation {
        case .ping: answer(request, .pong(pong))
        case .unwatch(let id): unwatch(id, request)
        case .artifact(let operation): artifact(operation, from: .client(request))
        default:
            var request = request
            request.address.waits = operation.lasts
            if let refusal = refusal(of: operation, request) { return refuse(request, refusal) }
            clients.begin(request.address)
            switch operation {
            case .submit(let submit): self.submit(submit, request, byteCount)
            case .get(let ids, let results):
                lanes.add(.read(StatusRead(ids: ids, results: results, purpose: .get(request))), to: results ? .results : .read)
            case .wait(let task, let milliseconds): openWatcher(.wait(deadline: now + Int64(milliseconds)), task, request)
            case .watch(let task): openWatcher(.watch, task, request)
            case .cancel(let ids): lanes.add(.cancel(request, ids), to: .cancel)
            case .retry(let ids): lanes.add(.lookBeforeRetry(request, ids), to: .retry)
            case .explain(let task): lanes.add(.catalogue(request, .explain(task)), to: .catalogue)
            case .models: lanes.add(.catalogue(request, .models), to: .catalogue)
            case .datasets: lanes.add(.catalogue(request, .datasets), to: .catalogue)
            case .registerModel(var registration):
                registration.checkpointID = random.timed(wallClock())
                lanes.add(.catalogue(request, .registerModel(registration)), to: .catalogue)
            case .registerDataset(let registration): lanes.add(.catalogue(request, .registerDataset(registration)), to: .catalogue)
            case .administer(let administration): lanes.add(.catalogue(request, .administer(administration)), to: .catalogue)
            case .ping, .unwatch, .artifact: break
            }
        }
    }

    private var pong: Reply.Pong {
        Reply.Pong(
            version: version, broker: id, synchronousCommit: isStoreAway ? nil : durability?.synchronousCommit,
            synchronousStandbys: isStoreAway ? [] : durability?.synchronousStandbys ?? [])
    }

    /// Why an operation cannot be taken now, if it cannot.
    private func refusal(of operation: Operation, _ request: RequestReference) -> ContractError? {
        if isDraining { return Self.shuttingDown }
        if isStoreAway { return Self.databaseAway }
        if !isReady { return ContractError(.unavailable, "the broker is starting: nothing was accepted, try again") }
        let isFull: Bool
        switch operation {
        case .submit(let submit):
            isFull =
                clients.requests >= settings.requestsInFlight || submitBytes >= settings.submitBytes
                || submit.watch && watchers.count >= settings.watchers
        case .wait, .watch: isFull = watchers.count >= settings.watchers
        default: isFull = clients.total >= 2 * settings.requestsInFlight + settings.watchers
        }
        let isOver = clients.count(of: request.address) >= settings.requestsPerClient
        return isFull || isOver ? ContractError(.busy, "too much is in flight: nothing was accepted, try again") : nil
    }

    // MARK: Submit

    private mutating func submit(_ submit: SubmitRequest, _ request: RequestReference, _ byteCount: Int) {
        let time = wallClock()
        let items = submit.tasks.map { task in
            let isAssigned = task.parameters.needsSeed && task.parameters.seed == nil
            let seed = isAssigned ? Seed.assigned(using: &random) : task.parameters.seed
            return SubmitItem(id: random.timed(time), submission: task, seed: seed, seedAssigned: isAssigned)
        }
        submitBytes += byteCount
        let pending = PendingSubmit(
            request: request, group: SubmitGroup(items: items, client: request.address.key ?? ""), isSingle: submit.isSingle,
            watcher: submit.watch ? items.first.map { openSubmitWatch($0.id, request) } : nil, byteCount: byteCount)
        lanes.add(.submit(pending), to: pending.mayMeetLocks ? .keyedSubmit : .submit)
    }

    mutating func submitted(_ works: [StoreWork], _ outcomes: [SubmitOutcome]) {
        for (work, outcome) in zip(works, outcomes) {
            guard case .submit(var pending) = work else { continue }
            if case .busy = outcome {
                meetsHeldKey(pending)
                continue
            }
            if case .accepted(let tasks) = outcome {
                withdrawOffers(&pending, used: tasks.count { $0.grant != nil })
            } else {
                withdrawOffers(&pending)
            }
            submitBytes -= pending.byteCount
            switch outcome {
            case .accepted(let tasks): accepted(pending, tasks)
            case .refused(let item, var error):
                let path = SubmitRequest(tasks: [], isSingle: pending.isSingle, watch: false).path(item)
                error.field = error.field.map(path.member) ?? path.text
                refuse(pending, error)
            case .busy: break
            }
        }
    }

    /// A submit meets a lock that somebody's open transaction holds, such as its key's. It goes where it stalls no other, for a second.
    mutating func meetsHeldKey(_ submit: PendingSubmit) {
        var submit = submit
        if submit.isUncertain {
            // The lease that it was sent with may be committed: the offer stands.
            submit.heldUntil = now + settings.heldKeyPatience
            return lanes.add(.submit(submit), to: .heldKeys)
        }
        withdrawOffers(&submit)
        if submit.heldUntil == nil, submit.mayMeetLocks, lanes.waitingCount(.heldKeys) < settings.heldSubmits {
            submit.heldUntil = now + settings.heldKeyPatience
            return lanes.add(.submit(submit), to: .heldKeys)
        }
        submitBytes -= submit.byteCount
        let what = submit.hasKey ? "a key" : "a task of its after"
        refuse(submit, ContractError(.busy, "\(what) is held by a transaction still open: nothing was accepted, try again"))
    }

    private mutating func accepted(_ pending: PendingSubmit, _ tasks: [SubmittedTask]) {
        counters.submitted += tasks.count { !$0.duplicate }
        answer(pending.request, .submitted(tasks.map { Reply.Submitted(id: $0.id, state: $0.state, duplicate: $0.duplicate) }))
        var early: [TaskEvent] = []
        if let number = pending.watcher, let task = tasks.first {
            early = beginSubmitWatch(number, task, pending.request)
        } else {
            clients.end(pending.request.address)
        }
        for (task, item) in zip(tasks, pending.group.items) where !task.duplicate { begin(task, item) }
        if let number = pending.watcher { for event in early { deliver(event, to: number) } }
    }

    /// Nothing of a submit was accepted.
    mutating func refuse(_ submit: PendingSubmit, _ error: ContractError) {
        closeSubmitWatch(submit.watcher)
        finish(submit.request, error)
    }

    private mutating func begin(_ task: SubmittedTask, _ item: SubmitItem) {
        emit(.queued, task: task.id, attempt: 0, sequence: 0)
        if var grant = task.grant {
            if let name = item.submission.parameters.modelName {
                modelNames.learn(name, from: grant.resolved, now: now)
                grant.modelKey = modelNames.digest(name).map(item.submission.parameters.precision.modelKey)
            }
            return granted(grant)
        }
        guard task.state == .queued, item.submission.after.isEmpty else { return }
        inLine(ReadyTask(task: task.id, queue: task.queue, rank: task.rank), runAt: item.submission.runAt ?? wallClock())
    }

    // MARK: Cancel, retry, models, register

    mutating func cancelAnswered(_ works: [StoreWork], _ replies: [CancelReply]) {
        guard case .cancel(let request, _)? = works.first else { return }
        finish(request, .stands(replies.map { Reply.Stand(id: $0.task, state: $0.state) }))
        for reply in replies {
            if reply.changed {
                counters.cancelled += 1
                emitEnd(reply.task, reply.attempt, .cancelled, nil, sequence: nil)
            }
            guard let running = reply.running else { continue }
            if leases[running.lease] != nil {
                cancelRunning(running.lease)
            } else if let session = running.session, sessions[session] != nil {
                tell(session: session, .cancel(lease: running.lease))
            } else {
                // Its broker sees the mark with its next sweep, which a wake-up brings forward.
                wakePeersNow()
            }
        }
    }

    /// Tasks that are to be retried were looked at: the retry itself names what was seen, and goes before all that waits.
    mutating func lookedBeforeRetry(_ request: RequestReference, _ outlines: [TaskOutline?]) {
        var ends: [SeenEnd] = []
        for (index, outline) in outlines.enumerated() {
            let field = "ids[\(index)]"
            guard let outline else { return finish(request, ContractError(.notFound, "there is no such task", field: field)) }
            guard outline.state == .failed || outline.state == .cancelled, let endedAt = outline.endedAt else {
                let message = "only a failed or cancelled task can be tried again; this one is \(outline.state.rawValue)"
                return finish(request, ContractError(.conflict, message, field: field))
            }
            ends.append(SeenEnd(task: outline.id, attempt: outline.attempt, endedAt: endedAt))
        }
        lanes.addFirst(.retry(request, ends), to: .retry)
    }

    mutating func retryAnswered(_ works: [StoreWork], _ outlines: [TaskOutline]) {
        guard case .retry(let request, let ends)? = works.first else { return }
        finish(request, .stands(outlines.map { Reply.Stand(id: $0.id, state: $0.state) }))
        let attempts = Dictionary(ends.map { ($0.task, $0.attempt) }, uniquingKeysWith: { first, _ in first })
        // One that has started since, or ended again, told so itself.
        for outline in outlines where outline.state == .queued && attempts[outline.id] == outline.attempt {
            emit(.queued, task: outline.id, attempt: outline.attempt, sequence: nextSequence(outline.id, outline.attempt))
        }
        timers.sweep = nil
    }

    mutating func modelsAnswered(_ request: RequestReference, _ asked: StoreRequest, _ rows: [ModelRow]) {
        if case .registerModel = asked, let row = rows.first { return finish(request, .model(row)) }
        finish(request, .models(rows))
    }

    mutating func datasetsAnswered(_ request: RequestReference, _ asked: StoreRequest, _ rows: [DatasetRow]) {
        guard case .registerDataset = asked else { return finish(request, .datasets(rows)) }
        if let row = rows.first { finish(request, .dataset(row)) } else { finish(request, ContractError(.internalError, "no row came back")) }
    }

    // MARK: Answers

    /// Answers a request that is not counted among those in flight, or goes on.
    mutating func answer(_ request: RequestReference, _ reply: Reply, isDroppable: Bool = false) {
        let payload = reply.encode(re: request.id, as: request.encoding, maximumBytes: settings.maximumReplyBytes)
        actions.append(.reply(request.address, payload: payload, isDroppable: isDroppable))
    }

    mutating func refuse(_ request: RequestReference, _ error: ContractError) {
        counters.refusals[error.code.rawValue, default: 0] += 1
        answer(request, .error(error))
    }

    /// Answers a request in flight: it is no longer.
    mutating func finish(_ request: RequestReference, _ reply: Reply) {
        clients.end(request.address)
        answer(request, reply)
    }

    mutating func finish(_ request: RequestReference, _ error: ContractError) {
        clients.end(request.address)
        refuse(request, error)
    }
}

extension Operation {
    /// Whether it is in flight until a task has ended.
    fileprivate var lasts: Bool {
        switch self {
        case .wait, .watch: true
        case .submit(let submit): submit.watch
        default: false
        }
    }
}
