import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import TestSupport
import Worker

/// Brokers, workers, a store and a client, with a network, a database and machines that fail: one history, from one seed or one plan.
///
/// The cores are the product's own; only time, the network, the engine and PostgreSQL are models. Equal seeds and plans give equal histories.
final class SimulatedWorld {
    enum Event {
        case brokerTick(Int, epoch: Int)
        case workerTick(Int, epoch: Int)
        // What is large lies elsewhere: an event is moved and copied many times.
        indirect case toBroker(Int, epoch: Int, address: [UInt8], WorkerMessage)
        indirect case toWorker(Int, epoch: Int, LinkID, BrokerMessage)
        indirect case store(Int, epoch: Int, ticket: Int, StoreRequest)
        /// A claim that has looked along the line comes to lock what it saw.
        indirect case claimLocks(Int, epoch: Int, ticket: Int, ClaimRequest, ModelStore.ClaimScan)
        indirect case storeReply(Int, epoch: Int, ticket: Int, StoreReply)
        case peerInterest(Int, epoch: Int, prefix: [UInt8], isAdded: Bool)
        indirect case fromPeer(Int, epoch: Int, BrokerID, PeerMessage)
        case engine(Int, epoch: Int, LeaseID, plan: Int)
        case engineStopped(Int, epoch: Int, LeaseID, plan: Int)
        /// An engine's word about a model that was to be preloaded.
        case preloaded(Int, epoch: Int, number: Int)
        case request(Int, epoch: Int, [UInt8])
        case clientReply([UInt8])
        case clientTurn
        case publish
        case notify(Int, epoch: Int)
        case trouble(Trouble)
        /// A broker's patience with its own drain ends.
        case drainOver(Int, epoch: Int)
        case startBroker(Int)
        case startWorker(Int)
    }

    /// A worker's joining of one broker.
    struct Joining: Hashable {
        var session: SessionID
        var epoch: Int
    }

    /// What befalls machines.
    enum Trouble {
        case brokerDies(Int)
        case workerDies(Int)
        case workerDrains(Int)
        case brokerDrains(Int)
        case brokerStands(Int, until: Int64)
        case workerStands(Int, until: Int64)
        case databaseAway(until: Int64)
        case brokerCutOff(Int, until: Int64)
        /// Somebody's open transaction holds a key.
        case keyHeld(String, until: Int64)
        case keyReleased(String)
        /// Somebody's open transaction has some waiting task's row locked.
        case rowHeld(until: Int64)
        case rowReleased(TaskID)
    }

    // One thread runs a world, and its clock, queue and store are asked for at every step: that no two accesses overlap is not looked after at each.
    @exclusivity(unchecked) var fate: Fate
    @exclusivity(unchecked) var queue = EventQueue<Event>()
    @exclusivity(unchecked) var now: Int64 = 10_000
    @exclusivity(unchecked) var store: ModelStore
    let brokers: [SimulatedBroker]
    let workers: [SimulatedWorker]
    var client: SimulatedClient
    var published: [TaskID] = []
    /// What every worker is to hold before it is ready.
    let preloads: [PreloadRequest]
    var databaseAwayUntil: Int64 = 0
    /// When the last message or statement that can still do something for a task arrives.
    var inFlightUntil: Int64 = 0
    var addresses: UInt64 = 0
    /// Broken promises found on the way.
    var faults: [String] = []
    /// What each worker listed in all that it said to join, by epoch.
    var listed: [Joining: Set<LeaseID>] = [:]
    /// How often each task was asked to be retried, each copy of a message counted.
    var retriesAsked: [TaskID: Int] = [:]
    /// Processes that died.
    var crashes = 0
    /// Tasks that could not be prepared for a fault of their machine.
    var machineFaults = 0
    /// The brokers' and workers' actions of one event, kept for its room.
    var brokerActions: [BrokerAction] = []
    var workerActions: [WorkerAction] = []
    static let databaseEpoch: Int64 = 1_700_000_000_000

    /// A small installation in which what is planned goes wrong.
    convenience init(plan: [PlannedMishap], brokers: Int = 2, workers: Int = 2, tasks: Int = 2, mutation: ModelStore.Mutation? = nil) {
        self.init(fate: Fate(plan: plan, brokers: brokers, workers: workers, tasks: tasks), mutation: mutation)
    }

    /// - Parameter preloads: what every worker is to hold before it is ready.
    init(fate: Fate, mutation: ModelStore.Mutation?, preloads: [PreloadRequest] = []) {
        self.fate = fate
        self.preloads = preloads
        store = ModelStore(mutation: mutation)
        brokers = (0..<fate.weather.brokers).map { _ in SimulatedBroker() }
        workers = (0..<fate.weather.workers).map { _ in SimulatedWorker() }
        client = SimulatedClient(tasks: fate.weather.tasks, fate: &self.fate)
        for index in brokers.indices { queue.add(.startBroker(index), at: now + self.fate.number(200)) }
        for index in workers.indices { queue.add(.startWorker(index), at: now + self.fate.number(500)) }
        // Before their first beats brokers take nothing.
        queue.add(.clientTurn, at: now + 1_300)
    }

    /// The same once more, as it stands, to go another way from here on.
    init(copying other: SimulatedWorld) {
        (fate, queue, now, store) = (other.fate, other.queue, other.now, other.store)
        brokers = other.brokers.map(SimulatedBroker.init(copying:))
        workers = other.workers.map(SimulatedWorker.init(copying:))
        (client, published, preloads, databaseAwayUntil) = (other.client, other.published, other.preloads, other.databaseAwayUntil)
        (inFlightUntil, addresses, faults, retriesAsked) = (other.inFlightUntil, other.addresses, other.faults, other.retriesAsked)
        (crashes, machineFaults, listed) = (other.crashes, other.machineFaults, other.listed)
    }

    /// Draws what befalls machines, and when somebody publishes in SQL.
    func planTrouble() {
        let (begin, span) = (fate.troubleFrom, fate.troubleUntil - fate.troubleFrom)
        // What befalls machines has its consequences while messages still go astray.
        for _ in 0..<fate.weather.troubles { queue.add(.trouble(drawTrouble(from: begin)), at: begin + 500 + fate.number(span * 2 / 3)) }
        for _ in 0..<fate.weather.published { queue.add(.publish, at: begin + fate.number(span)) }
    }

    private func drawTrouble(from begin: Int64) -> Trouble {
        let (broker, worker) = (Int(fate.number(Int64(brokers.count))), Int(fate.number(Int64(workers.count))))
        let until = begin + 500 + fate.number(fate.troubleUntil - begin)
        switch fate.number(12) {
        case 0, 1: return .workerDies(worker)
        case 2, 3: return .brokerDies(broker)
        case 4: return .workerDrains(worker)
        case 5: return .brokerStands(broker, until: until)
        case 6: return .workerStands(worker, until: until + 2_000)
        case 7: return .brokerCutOff(broker, until: until)
        case 9: return .brokerDrains(broker)
        case 8: return .keyHeld("key \(fate.number(Int64(fate.weather.tasks)))", until: until)
        case 10: return .rowHeld(until: until)
        default: return .databaseAway(until: until)
        }
    }

    // MARK: Running

    /// Runs until every task has ended, the client has heard of it and every worker is told so, or the time is up.
    /// - Parameter limit: milliseconds of the history after which it has to be over.
    /// - Returns: what was promised and not kept.
    func run(limit: Int64 = 400_000) -> [String] {
        let end = now + limit
        while let time = queue.nextTime, time < end, step() {}
        return faults + finalFaults()
    }

    /// Runs as long as all is well.
    func runCalm() { while let time = queue.nextTime, time < fate.troubleFrom, step() {} }

    /// Lets the next thing happen.
    /// - Returns: whether anything may come of what follows it.
    func step() -> Bool {
        guard let (time, event) = queue.next() else { return false }
        now = time
        handle(event)
        return !((now > fate.troubleUntil || !fate.isPlanned && now > inFlightUntil) && isOver)
    }

    private func handle(_ event: Event) {
        switch event {
        case .brokerTick(let index, let epoch):
            guard isAwake(brokers[index].epoch == epoch, brokers[index].standsUntil, event) else { return }
            if brokers[index].nextTick > now { return }
            brokers[index].nextTick = .max
            tellBroker(index, .tick)
        case .toBroker(let index, let epoch, let address, let message): hear(index, epoch, event, .workerMessage(from: address, message))
        case .storeReply(let index, let epoch, let ticket, let reply): hear(index, epoch, event, .storeReply(ticket: ticket, reply))
        case .peerInterest(let index, let epoch, let prefix, let isAdded):
            hear(index, epoch, event, .peerSubscription(prefix: prefix, isAdded: isAdded))
        case .fromPeer(let index, let epoch, let peer, let message):
            if brokers[index].links[peer] != nil { hear(index, epoch, event, .peerMessage(over: peer, message)) }
        case .request(let index, let epoch, let payload): hear(index, epoch, event, .clientMessage([Array("client".utf8), payload]))
        case .notify(let index, let epoch): hear(index, epoch, event, .notified)
        case .workerTick(let index, let epoch):
            guard isAwake(workers[index].epoch == epoch, workers[index].standsUntil, event) else { return }
            tellWorker(index, .tick)
            queue.add(.workerTick(index, epoch: epoch), at: now + 700)
        case .toWorker(let index, let epoch, let link, let message):
            guard isAwake(workers[index].epoch == epoch, workers[index].standsUntil, event) else { return }
            tellWorker(index, .message(message, link: link))
        case .engine(let index, let epoch, let lease, let plan):
            if isAwake(workers[index].epoch == epoch, workers[index].standsUntil, event) { runEngine(index, lease, plan) }
        case .engineStopped(let index, let epoch, let lease, let plan):
            if isAwake(workers[index].epoch == epoch, workers[index].standsUntil, event) { stopEngine(index, lease, plan) }
        case .preloaded(let index, let epoch, let number):
            if isAwake(workers[index].epoch == epoch, workers[index].standsUntil, event) { endPreload(index, number) }
        case .store(let index, let epoch, let ticket, let request): perform(index, epoch, ticket, request)
        case .claimLocks(let index, let epoch, let ticket, let request, let scan): lock(index, epoch, ticket, request, scan)
        case .clientReply(let payload): clientHears(payload)
        case .clientTurn: clientTurn()
        case .publish: publish()
        case .trouble(let trouble): befall(trouble)
        case .drainOver(let index, let epoch): if brokers[index].epoch == epoch { endBroker(index) }
        case .startBroker(let index): startBroker(index)
        case .startWorker(let index): startWorker(index)
        }
    }

    private func hear(_ index: Int, _ epoch: Int, _ event: Event, _ input: BrokerEvent) {
        if isAwake(brokers[index].epoch == epoch, brokers[index].standsUntil, event) { tellBroker(index, input) }
    }

    /// Whether a process hears what comes to it: one that stands still hears it when it goes on, one that died never does.
    private func isAwake(_ isSame: Bool, _ standsUntil: Int64, _ event: Event) -> Bool {
        guard isSame else { return false }
        guard standsUntil > now else { return true }
        queue.add(event, at: standsUntil)
        return false
    }
}
