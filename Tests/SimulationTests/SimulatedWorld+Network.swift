import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Worker

extension SimulatedWorld {
    /// Sends something: it arrives once, twice or never.
    /// - Parameter point: nil where a plan does not name what is sent.
    func send(_ point: Point?, _ event: () -> Event) {
        let mishap = point.flatMap { pass($0) }
        let arrivals = fate.arrivals(now, mishap)
        if point != nil { inFlightUntil = max(inFlightUntil, arrivals.first ?? 0, arrivals.second ?? 0) }
        if let time = arrivals.first { queue.add(event(), at: time) }
        if let time = arrivals.second { queue.add(event(), at: time) }
    }

    /// Passes a point of a planned history.
    /// - Returns: what befalls that which is sent there; what befalls machines is done already.
    private func pass(_ point: Point) -> Mishap? {
        guard let mishap = fate.pass(point) else { return nil }
        switch mishap {
        case .brokerDies(let index): befall(.brokerDies(index))
        case .workerDies(let index): befall(.workerDies(index))
        case .workerDrains(let index): befall(.workerDrains(index))
        case .brokerDrains(let index): befall(.brokerDrains(index))
        case .brokerStands(let index): befall(.brokerStands(index, until: now + Mishap.longDelay))
        case .workerStands(let index): befall(.workerStands(index, until: now + Mishap.longDelay))
        case .databaseAway: befall(.databaseAway(until: now + 5_000))
        case .cancelled: sayByClient(client.cancelAll())
        default: return mishap
        }
        return nil
    }

    func befall(_ trouble: Trouble) {
        switch trouble {
        case .brokerDies(let index): endBroker(index)
        case .workerDies(let index): endWorker(index)
        case .workerDrains(let index): if workers[index].isUp, workers[index].standsUntil <= now { tellWorker(index, .drain) }
        case .brokerDrains(let index): if brokers[index].isUp, brokers[index].standsUntil <= now { drainBroker(index) }
        case .brokerStands(let index, let until): brokers[index].standsUntil = max(brokers[index].standsUntil, until)
        case .workerStands(let index, let until): workers[index].standsUntil = max(workers[index].standsUntil, until)
        case .databaseAway(let until): databaseAwayUntil = max(databaseAwayUntil, until)
        case .brokerCutOff(let index, let until): brokers[index].cutOffUntil = max(brokers[index].cutOffUntil, until)
        case .keyHeld(let key, let until):
            store.heldKeys.insert(key)
            queue.add(.trouble(.keyReleased(key)), at: until)
        case .keyReleased(let key): store.heldKeys.remove(key)
        case .rowHeld(let until):
            guard let id = store.waiting.randomElement(using: &fate.random) else { return }
            store.heldTasks.insert(id)
            queue.add(.trouble(.rowReleased(id)), at: until)
        case .rowReleased(let id): store.heldTasks.remove(id)
        }
    }

    // MARK: Database

    /// A broker's request is on its way to the store.
    func ask(_ index: Int, _ ticket: Int, _ request: StoreRequest) {
        let epoch = brokers[index].epoch
        let mishap = isPoint(request) ? pass(.statement) : nil
        switch mishap {
        case .unreached: answer(index, epoch, ticket, .failed(.unreached("away")))
        case .answerLost:
            answer(index, epoch, ticket, .failed(.unavailable("away")))
            queue.add(.store(index, epoch: -1, ticket: ticket, request), at: now + 2)
        case .executedLate:
            answer(index, epoch, ticket, .failed(.unavailable("away")))
            queue.add(.store(index, epoch: -1, ticket: ticket, request), at: now + Mishap.longDelay)
            fate.delayEnd(now + Mishap.longDelay)
        default:
            let arrival = now + fate.delay(now)
            if isPoint(request) { inFlightUntil = max(inFlightUntil, arrival) }
            queue.add(.store(index, epoch: epoch, ticket: ticket, request), at: arrival)
        }
    }

    /// Whether the request does something for a task, and does not only look or beat.
    private func isPoint(_ request: StoreRequest) -> Bool {
        switch request {
        case .beat, .dueSweep, .markIdle, .endBackoffs, .figures, .durability, .states, .get, .unchecked, .registerBroker: false
        default: true
        }
    }

    private func answer(_ index: Int, _ epoch: Int, _ ticket: Int, _ reply: StoreReply) {
        queue.add(.storeReply(index, epoch: epoch, ticket: ticket, reply), at: now + fate.delay(now))
    }

    /// A request on its way arrives though its sender died; a lost connection leaves unknown what happened.
    func perform(_ index: Int, _ epoch: Int, _ ticket: Int, _ request: StoreRequest) {
        if let failure = strike(index) { return answer(index, epoch, ticket, failure) }
        guard case .claim(let claim) = request else { return answerUnlessLost(index, epoch, ticket, perform(request)) }
        // Others lease, cancel and publish between its look and its locks.
        queue.add(.claimLocks(index, epoch: epoch, ticket: ticket, claim, store.scan(claim)), at: now + fate.delay(now))
    }

    func lock(_ index: Int, _ epoch: Int, _ ticket: Int, _ request: ClaimRequest, _ scan: ModelStore.ClaimScan) {
        if let failure = strike(index) { return answer(index, epoch, ticket, failure) }
        let reply = StoreReply.claimed(store.lease(request, scan, now: Self.databaseEpoch + now))
        faults += store.takeFaults()
        answerUnlessLost(index, epoch, ticket, reply)
    }

    /// What a broker hears where the database cannot be reached; nothing was done then.
    private func strike(_ index: Int) -> StoreReply? {
        let isAway = now < databaseAwayUntil || now < brokers[index].cutOffUntil
        guard isAway || fate.isTroubled(now) && fate.happens(fate.weather.unknown) else { return nil }
        // It knows so, unless its connection broke while it waited for a commit.
        return fate.happens(500) ? .failed(.unavailable("away")) : .failed(.unreached("away"))
    }

    private func answerUnlessLost(_ index: Int, _ epoch: Int, _ ticket: Int, _ reply: StoreReply) {
        let isLost = fate.isTroubled(now) && fate.happens(fate.weather.unknown)
        answer(index, epoch, ticket, isLost ? .failed(.unavailable("away")) : reply)
    }

    /// Somebody publishes in SQL, and brokers that sleep are told.
    func publish() {
        let id = TaskID(hi: fate.random.next(), lo: fate.random.next())
        let isValid = fate.happens(700)
        published.append(id)
        let params = Array(#"{"model":"demo"\#(isValid ? "" : #","temperature":-1"#)}"#.utf8)
        store.publish(ModelStore.Publication(params: params), id: id, now: Self.databaseEpoch + now)
        for index in brokers.indices where fate.happens(600) {
            queue.add(.notify(index, epoch: brokers[index].epoch), at: now + fate.delay(now))
        }
    }

    // MARK: Client

    func clientTurn() {
        sayByClient(client.turn(now: now, fate: &fate))
        queue.add(.clientTurn, at: now + 400 + fate.number(400))
    }

    private func sayByClient(_ sayings: [SimulatedClient.Saying]) {
        for saying in sayings {
            let broker = fate.isPlanned ? client.turns % brokers.count : Int(fate.number(Int64(brokers.count)))
            let epoch = brokers[broker].epoch
            send(.message) {
                if let id = saying.retries { retriesAsked[id, default: 0] += 1 }
                return .request(broker, epoch: epoch, saying.payload)
            }
        }
    }

    func clientHears(_ payload: [UInt8]) {
        for accepted in client.take(payload) where store.tasks[accepted] == nil {
            faults.append("task \(accepted) was accepted and is not in the store")
        }
    }
}
