import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import TestSupport
import Worker

/// Brokers, workers, a store and a client, with a network, a database and machines that fail: one history from one seed.
///
/// The cores are the product's own; only time, the network, the engine and PostgreSQL are models. Equal seeds give equal histories.
struct SimulatedWorld {
    enum Event {
        case brokerTick(Int, epoch: Int)
        case workerTick(Int, epoch: Int)
        case toBroker(Int, epoch: Int, address: [UInt8], WorkerMessage)
        case toWorker(Int, epoch: Int, LinkID, BrokerMessage)
        case store(Int, epoch: Int, ticket: Int, StoreRequest)
        case storeReply(Int, epoch: Int, ticket: Int, StoreReply)
        case engine(Int, epoch: Int, LeaseID, plan: Int)
        case engineStopped(Int, epoch: Int, LeaseID, plan: Int)
        case request(Int, epoch: Int, [UInt8])
        case clientReply([UInt8])
        case clientTurn
        case crashBroker(Int)
        case startBroker(Int)
        case crashWorker(Int)
        case startWorker(Int)
        case drainWorker(Int)
        case databaseAway(until: Int64)
    }

    struct SimulatedBroker {
        var core: BrokerCore?
        /// Counts starts; what was meant for an earlier process is lost.
        var epoch = 0
        var nextTick = Int64.max
    }

    struct SimulatedWorker {
        var core: WorkerCore?
        var epoch = 0
        var engine = SimulatedEngine()
        var link: (id: LinkID, broker: Int, address: [UInt8])?
    }

    let seed: UInt64
    private var random: SeededGenerator
    private var queue = EventQueue<Event>()
    private(set) var now: Int64 = 10_000
    private(set) var store = ModelStore()
    private(set) var brokers: [SimulatedBroker]
    private(set) var workers: [SimulatedWorker]
    private(set) var client: SimulatedClient
    private var databaseAwayUntil: Int64 = 0
    private var troubleUntil: Int64
    /// Of a thousand messages, so many are lost, doubled, or late by up to three seconds.
    private let loss: Int
    private let doubling: Int
    private let lateness: Int
    private var addresses: UInt64 = 0
    /// Broken promises found on the way.
    private(set) var faults: [String] = []
    private(set) var crashes = 0
    private static let databaseEpoch: Int64 = 1_700_000_000_000
    private static let troubleMilliseconds: Int64 = 15_000

    init(seed: UInt64) {
        self.seed = seed
        random = SeededGenerator(seed: seed)
        func pick(_ random: inout SeededGenerator, _ values: [Int]) -> Int { values[Int(random.next() % UInt64(values.count))] }
        loss = pick(&random, [0, 5, 30, 100])
        doubling = pick(&random, [0, 20, 100])
        lateness = pick(&random, [0, 20, 100])
        brokers = Array(repeating: SimulatedBroker(), count: pick(&random, [1, 2, 2, 3]))
        workers = Array(repeating: SimulatedWorker(), count: pick(&random, [1, 2, 3]))
        client = SimulatedClient(tasks: pick(&random, [2, 4, 8]), random: &random)
        troubleUntil = 10_000 + Self.troubleMilliseconds
        for index in brokers.indices { queue.add(.startBroker(index), at: now + number(200)) }
        for index in workers.indices { queue.add(.startWorker(index), at: now + number(500)) }
        queue.add(.clientTurn, at: now + 300)
        planTrouble()
    }

    private mutating func number(_ bound: Int64) -> Int64 { Int64(random.next() % UInt64(bound)) }
    private mutating func happens(_ perThousand: Int) -> Bool { Int(random.next() % 1000) < perThousand }

    private mutating func planTrouble() {
        for _ in 0..<number(5) {
            let time = now + 500 + number(Self.troubleMilliseconds)
            switch number(6) {
            case 0, 1: queue.add(.crashWorker(Int(number(Int64(workers.count)))), at: time)
            case 2, 3: queue.add(.crashBroker(Int(number(Int64(brokers.count)))), at: time)
            case 4: queue.add(.drainWorker(Int(number(Int64(workers.count)))), at: time)
            default: queue.add(.databaseAway(until: time + 200 + number(6000)), at: time)
            }
        }
    }

    // MARK: Running

    /// Runs until every task has ended and every worker is told so, or the time is up.
    /// - Parameter limit: milliseconds of the history after which it has to be over.
    /// - Returns: what was promised and not kept.
    mutating func run(limit: Int64 = 300_000) -> [String] {
        let end = now + limit
        while let (time, event) = queue.next(), time < end {
            now = time
            handle(event)
            if now > troubleUntil + 3000, isOver { break }
        }
        return faults + finalFaults()
    }

    private var isOver: Bool {
        client.isSettled && client.accepted.allSatisfy { store.tasks[$0]?.state.isTerminal ?? false }
            && workers.allSatisfy { $0.core?.leases.isEmpty ?? true }
    }

    private func finalFaults() -> [String] {
        var faults: [String] = []
        if !client.isSettled { faults.append("a submit was never answered") }
        for id in client.accepted {
            guard let task = store.tasks[id] else {
                faults.append("the accepted task \(id) is lost")
                continue
            }
            if !task.state.isTerminal { faults.append("task \(id) is \(task.state) at the end, attempt \(task.attempt)") }
            if task.recorded > 1 || (task.recorded == 1) != (task.state == .succeeded) {
                faults.append("task \(id) is \(task.state) and was completed \(task.recorded) times")
            }
            if task.state == .succeeded, task.kind == .generate, task.generations.count != client.texts(of: id) {
                faults.append("task \(id) has \(task.generations.count) texts, not \(client.texts(of: id))")
            }
        }
        for (index, worker) in workers.enumerated() where !(worker.core?.leases.isEmpty ?? true) {
            faults.append("worker \(index) still holds \(worker.core?.leases.count ?? 0) leases")
        }
        return faults
    }

    private mutating func handle(_ event: Event) {
        switch event {
        case .brokerTick(let index, let epoch):
            guard brokers[index].epoch == epoch, brokers[index].nextTick <= now else { return }
            brokers[index].nextTick = .max
            tellBroker(index, .tick)
        case .workerTick(let index, let epoch):
            guard workers[index].epoch == epoch, workers[index].core != nil else { return }
            tellWorker(index, .tick)
            queue.add(.workerTick(index, epoch: epoch), at: now + 100)
        case .toBroker(let index, let epoch, let address, let message):
            if brokers[index].epoch == epoch { tellBroker(index, .workerMessage(from: address, message)) }
        case .toWorker(let index, let epoch, let link, let message):
            if workers[index].epoch == epoch { tellWorker(index, .message(message, link: link)) }
        case .store(let index, let epoch, let ticket, let request): perform(index, epoch, ticket, request)
        case .storeReply(let index, let epoch, let ticket, let reply):
            if brokers[index].epoch == epoch { tellBroker(index, .storeReply(ticket: ticket, reply)) }
        case .engine(let index, let epoch, let lease, let plan): if workers[index].epoch == epoch { runEngine(index, lease, plan) }
        case .engineStopped(let index, let epoch, let lease, let plan):
            guard workers[index].epoch == epoch, workers[index].engine.task(lease, plan: plan) != nil else { return }
            workers[index].engine.forget(lease)
            tellWorker(index, .engine(.stopped(lease, resume: nil)))
        case .request(let index, let epoch, let payload):
            if brokers[index].epoch == epoch { tellBroker(index, .clientMessage([Array("client".utf8), payload])) }
        case .clientReply(let payload):
            if let accepted = client.take(payload), store.tasks[accepted] == nil {
                faults.append("task \(accepted) was accepted and is not in the store")
            }
        case .clientTurn: clientTurn()
        case .crashBroker(let index): crashBroker(index)
        case .startBroker(let index): startBroker(index)
        case .crashWorker(let index): crashWorker(index)
        case .startWorker(let index): startWorker(index)
        case .drainWorker(let index): if workers[index].core != nil { tellWorker(index, .drain) }
        case .databaseAway(let until): databaseAwayUntil = max(databaseAwayUntil, until)
        }
    }

    // MARK: Machines

    private mutating func crashBroker(_ index: Int) {
        guard brokers[index].core != nil else { return }
        crashes += 1
        brokers[index].core = nil
        brokers[index].epoch += 1
        queue.add(.startBroker(index), at: now + 100 + number(6000))
    }

    private mutating func startBroker(_ index: Int) {
        brokers[index].epoch += 1
        let id = BrokerID(hi: random.next(), lo: random.next())
        brokers[index].core = BrokerCore(id: id, random: IdentitySource(seed: random.next()))
        brokers[index].nextTick = .max
        tellBroker(index, .start(BrokerRegistration(id: id, host: "b\(index)", pid: index, version: "1", endpoints: [:], publicKey: nil)))
    }

    private mutating func crashWorker(_ index: Int) {
        guard workers[index].core != nil else { return }
        crashes += 1
        loseWorker(index)
        queue.add(.startWorker(index), at: now + 100 + number(3000))
    }

    private mutating func loseWorker(_ index: Int) {
        workers[index].core = nil
        workers[index].epoch += 1
        workers[index].engine = SimulatedEngine()
        workers[index].link = nil
    }

    private mutating func startWorker(_ index: Int) {
        workers[index].epoch += 1
        let registration = WorkerRegistration(
            session: SessionID(hi: random.next(), lo: random.next()), host: "w\(index)", pid: index, version: "1", numerics: ["float32/1"],
            instructionSet: "plain", threads: 1, slots: 1 + Int(number(4)), parameters: TaskParameters.knownNames)
        workers[index].core = WorkerCore(
            WorkerCore.Settings(registration: registration, brokers: brokers.indices.map { "\($0)" }, drainMilliseconds: 2000))
        queue.add(.workerTick(index, epoch: workers[index].epoch), at: now)
    }

    // MARK: Network

    private mutating func delay() -> Int64 {
        guard now < troubleUntil else { return 1 + number(5) }
        return happens(lateness) ? 1 + number(3000) : 1 + number(20)
    }

    /// How often, and when, a message arrives.
    private mutating func arrivals() -> [Int64] {
        guard now < troubleUntil else { return [now + delay()] }
        if happens(loss) { return [] }
        return happens(doubling) ? [now + delay(), now + delay()] : [now + delay()]
    }

    private mutating func tellBroker(_ index: Int, _ event: BrokerEvent) {
        guard brokers[index].core != nil else { return }
        var actions: [BrokerAction] = []
        brokers[index].core?.handle(event, now: now, into: &actions)
        for action in actions { perform(action, of: index) }
        guard let next = brokers[index].core?.nextTick, next < brokers[index].nextTick else { return }
        brokers[index].nextTick = max(next, now + 1)
        queue.add(.brokerTick(index, epoch: brokers[index].epoch), at: brokers[index].nextTick)
    }

    private mutating func perform(_ action: BrokerAction, of index: Int) {
        let epoch = brokers[index].epoch
        switch action {
        case .reply(_, let payload, _): for time in arrivals() { queue.add(.clientReply(payload), at: time) }
        case .tell(let address, let message):
            guard let worker = workers.firstIndex(where: { $0.link?.address == address }), let link = workers[worker].link else { return }
            for time in arrivals() { queue.add(.toWorker(worker, epoch: workers[worker].epoch, link.id, message), at: time) }
        case .store(let ticket, _, let request): queue.add(.store(index, epoch: epoch, ticket: ticket, request), at: now + delay())
        // Links between brokers are simulated with the broker's own world.
        case .publish, .publishToPeers, .connectPeer, .disconnectPeer, .subscribePeers, .listenAnew, .note, .drained, .artifact: break
        }
    }

    private mutating func tellWorker(_ index: Int, _ input: WorkerInput) {
        guard workers[index].core != nil else { return }
        var actions: [WorkerAction] = []
        workers[index].core?.handle(input, now: now, into: &actions)
        for action in actions where workers[index].core != nil { perform(action, of: index) }
    }

    private mutating func perform(_ action: WorkerAction, of index: Int) {
        switch action {
        case .connect(let link, let endpoint):
            addresses += 1
            workers[index].link = (link, Int(endpoint) ?? 0, Array("\(addresses)".utf8))
        case .learnKeys: break
        case .disconnect: workers[index].link = nil
        case .send(let id, let message):
            guard let link = workers[index].link, link.id == id else { return faults.append("a message over a closed link") }
            let epoch = brokers[link.broker].epoch
            for time in arrivals() { queue.add(.toBroker(link.broker, epoch: epoch, address: link.address, message), at: time) }
        case .start(let grant):
            let plan = workers[index].engine.start(grant)
            queue.add(.engine(index, epoch: workers[index].epoch, grant.lease, plan: plan), at: now + 1 + number(300))
        case .stop(let lease, _):
            guard let plan = workers[index].engine.replan(lease) else { return }
            queue.add(.engineStopped(index, epoch: workers[index].epoch, lease, plan: plan), at: now + number(200))
        case .exit:
            loseWorker(index)
            queue.add(.startWorker(index), at: now + 100 + number(2000))
        }
    }

    // MARK: Database

    private mutating func perform(_ index: Int, _ epoch: Int, _ ticket: Int, _ request: StoreRequest) {
        let away = StoreReply.failed(.unavailable("away"))
        // A request on its way arrives though its sender died; a lost connection leaves unknown what happened.
        if now < databaseAwayUntil {
            queue.add(.storeReply(index, epoch: epoch, ticket: ticket, away), at: now + 1 + number(50))
            return
        }
        let isInTrouble = now < troubleUntil
        if isInTrouble && happens(10) { return queue.add(.storeReply(index, epoch: epoch, ticket: ticket, away), at: now + 1 + number(50)) }
        let reply = store.perform(request, now: Self.databaseEpoch + now)
        for task in store.tasks.values where task.recorded > 1 { faults.append("task \(task.id) was completed \(task.recorded) times") }
        let heard = isInTrouble && happens(10) ? away : reply
        queue.add(.storeReply(index, epoch: epoch, ticket: ticket, heard), at: now + delay())
    }

    // MARK: Engine

    private mutating func runEngine(_ index: Int, _ lease: LeaseID, _ plan: Int) {
        guard let task = workers[index].engine.task(lease, plan: plan) else { return }
        if task.steps == 0 { tellWorker(index, .engine(.started(lease))) }
        workers[index].engine.step(lease)
        let isDone = task.steps >= 1 + Int(number(6))
        if !isDone {
            if task.isFinetune {
                tellWorker(index, .engine(.checkpoint(lease, step: task.steps, record: nil, resume: Array("{}".utf8))))
            } else {
                tellWorker(index, .engine(.events(lease, [.token(sample: 0, draw: 0, index: task.steps, tokenID: 1, text: "a")])))
            }
            queue.add(.engine(index, epoch: workers[index].epoch, lease, plan: plan), at: now + 20 + number(700))
            return
        }
        workers[index].engine.forget(lease)
        if happens(60) {
            tellWorker(index, .engine(.failed(lease, error: ContractError(.internalError, "bad luck"), final: false)))
        } else {
            tellWorker(index, .engine(.finished(lease, generations: SimulatedEngine.texts(of: task), result: nil)))
        }
    }

    // MARK: Client

    private mutating func clientTurn() {
        for payload in client.turn(random: &random) {
            let broker = Int(number(Int64(brokers.count)))
            for time in arrivals() { queue.add(.request(broker, epoch: brokers[broker].epoch, payload), at: time) }
        }
        if !client.isSettled || now < troubleUntil { queue.add(.clientTurn, at: now + 400 + number(400)) }
    }
}
