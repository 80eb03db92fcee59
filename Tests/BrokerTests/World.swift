import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import TestSupport

/// What goes wrong in one history, drawn from its seed.
struct Weather {
    var brokers = 1
    var workers = 1
    var tasks = 4
    /// Until then things go wrong; afterwards all is calm, and everything must come to an end.
    var stormEnds: Int64 = 8_000
    var lossPermille = 0
    var doublePermille = 0
    var longestDelay = 20
    var crashes = 0
    var outages = 0
    var cuts = 0
    var unknownPermille = 0

    init(seed: UInt64) {
        var random = SplitMix(seed: seed ^ 0xABCD)
        brokers = 1 + random.below(2)
        workers = 1 + random.below(3)
        tasks = 1 + random.below(8)
        if random.chance(700) { lossPermille = random.below(200) }
        if random.chance(700) { doublePermille = random.below(200) }
        longestDelay = [5, 50, 400, 2_500][random.below(4)]
        crashes = random.below(4)
        outages = random.below(3)
        cuts = random.below(3)
        unknownPermille = random.chance(500) ? random.below(150) : 0
        stormEnds = 4_000 + Int64(random.below(8_000))
    }
}

/// A whole installation in memory: brokers under test, scripted workers and clients, a model of the store, and a network and clock that misbehave by seed.
final class World {
    private enum Event {
        case brokerTick(Int, Int)
        case toBroker(Int, Int, [UInt8], WorkerMessage)
        case toWorker([UInt8], BrokerMessage)
        case storeRequest(Int, Int, Int, StoreRequest)
        case storeReply(Int, Int, Int, StoreReply)
        case workerTick(Int, Int)
        case clientTick(Int)
        case fromClient(Int, [UInt8])
        case toClient(Int, [UInt8])
        case crashBroker(Int), startBroker(Int), crashWorker(Int), startWorker(Int)
        case outage(Bool)
        /// A broker alone cannot reach the database.
        case cutOff(Int, Bool)
        case peerInterest(Int, Int, [UInt8], Bool)
        case fromPeer(Int, Int, BrokerID, PeerMessage)
        case publish
        case notify(Int)
    }

    private struct BrokerPlace {
        var core: BrokerCore?
        var epoch = 0
        /// Its monotonic clock is not ours.
        var clockOffset: Int64 = 0
        var nextTick: Int64 = -1
        var isCutOff = false
        /// What it is subscribed to at which brokers.
        var links: [BrokerID: [[UInt8]]] = [:]
    }

    private struct WorkerPlace {
        var worker: ScriptedWorker?
        var epoch = 0
        var broker = 0
        /// Rises with each connection: what an old one still brings is not heard.
        var connection: UInt8 = 0
        var nextTick: Int64 = -1
    }

    /// A client that wants one task done and resends until it is.
    private struct ClientPlace {
        var request: String
        var hasKey: Bool
        var accepted: TaskID?
        var isDone = false
        var cancels: Bool
        var asked: Int64 = 0
        var hasGivenUp = false
    }

    let seed: UInt64
    let weather: Weather
    private var random: SplitMix
    private var events = EventQueue<Event>()
    private(set) var time: Int64 = 0
    private(set) var steps = 0
    private(set) var store = ModelStore()
    private var isAway = false
    private var brokers: [BrokerPlace]
    private var workers: [WorkerPlace]
    private var clients: [ClientPlace] = []
    private(set) var published: [TaskID] = []
    private static let epoch: Int64 = 1_700_000_000_000

    init(seed: UInt64) {
        self.seed = seed
        weather = Weather(seed: seed)
        random = SplitMix(seed: seed)
        brokers = Array(repeating: BrokerPlace(), count: weather.brokers)
        workers = Array(repeating: WorkerPlace(), count: weather.workers)
        for index in brokers.indices { startBroker(index) }
        for index in workers.indices { events.add(.startWorker(index), at: Int64(random.below(500))) }
        for index in 0..<weather.tasks { addClient(index) }
        for _ in 0..<weather.crashes {
            let at = Int64(random.below(Int(weather.stormEnds)))
            events.add(random.chance(400) ? .crashBroker(random.below(brokers.count)) : .crashWorker(random.below(workers.count)), at: at)
        }
        for _ in 0..<weather.outages {
            let at = Int64(random.below(Int(weather.stormEnds)))
            events.add(.outage(true), at: at)
            events.add(.outage(false), at: at + Int64(random.below(3_000)))
        }
        for _ in 0..<weather.cuts {
            let (at, broker) = (Int64(random.below(Int(weather.stormEnds))), random.below(brokers.count))
            events.add(.cutOff(broker, true), at: at)
            events.add(.cutOff(broker, false), at: at + Int64(random.below(9_000)))
        }
        if random.chance(400) { events.add(.publish, at: Int64(random.below(Int(weather.stormEnds)))) }
    }

    private func addClient(_ index: Int) {
        let hasKey = random.chance(800)
        var task = #"{"kind":"generate","params":{"model":"demo","prompt":"x"}"#
        if hasKey { task += #","key":"k\#(index)""# }
        if random.chance(150) { task += #","priority":\#(random.below(200) - 100)"# }
        if random.chance(100) { task += #","max_attempts":\#(1 + random.below(5))"# }
        task += "}"
        let request = #"{"op":"submit","id":\#(index),"task":\#(task)}"#
        clients.append(ClientPlace(request: request, hasKey: hasKey, cancels: random.chance(120)))
        events.add(.clientTick(index), at: Int64(random.below(Int(weather.stormEnds))))
    }

    private var isStormy: Bool { time < weather.stormEnds }

    private func delay() -> Int64 { 1 + Int64(random.below(isStormy ? weather.longestDelay : 5)) }

    // MARK: Running

    /// Runs until every accepted task has ended and every client knows, or for so long in calm weather.
    /// - Returns: whether all came to an end.
    func run(calm: Int64 = 400_000) -> Bool {
        while let (at, event) = events.next() {
            time = at
            steps += 1
            if steps > 200_000 { return false }
            if time > weather.stormEnds + calm { return false }
            handle(event)
            if !isStormy, isSettled { return true }
        }
        return isSettled
    }

    private var isSettled: Bool { clients.allSatisfy { $0.isDone || $0.hasGivenUp } && store.tasks.values.allSatisfy { $0.state.isTerminal } }

    private func handle(_ event: Event) {
        switch event {
        case .brokerTick(let index, let epoch): if brokers[index].epoch == epoch { feed(index, .tick) }
        case .toBroker(let index, let epoch, let address, let message):
            if brokers[index].epoch == epoch { feed(index, .workerMessage(from: address, message)) }
        case .toWorker(let address, let message): toWorker(address, message)
        case .storeRequest(let index, let epoch, let ticket, let request): execute(index, epoch, ticket, request)
        case .storeReply(let index, let epoch, let ticket, let reply):
            if brokers[index].epoch == epoch { feed(index, .storeReply(ticket: ticket, reply)) }
        case .workerTick(let index, let epoch): if workers[index].epoch == epoch { workerTick(index) }
        case .clientTick(let index): clientTick(index)
        case .fromClient(let broker, let payload): if brokers[broker].core != nil { feed(broker, .clientMessage([[9], payload])) }
        case .toClient(let index, let payload): clientHears(index, payload)
        case .crashBroker(let index): crashBroker(index)
        case .startBroker(let index): if brokers[index].core == nil { startBroker(index) }
        case .crashWorker(let index): crashWorker(index)
        case .startWorker(let index): if workers[index].worker == nil { startWorker(index) }
        case .outage(let begins): isAway = begins && isStormy
        case .cutOff(let index, let begins): brokers[index].isCutOff = begins && isStormy
        case .peerInterest(let index, let epoch, let prefix, let isAdded):
            if brokers[index].epoch == epoch { feed(index, .peerSubscription(prefix: prefix, isAdded: isAdded)) }
        case .fromPeer(let index, let epoch, let peer, let message):
            if brokers[index].epoch == epoch, brokers[index].links[peer] != nil { feed(index, .peerMessage(over: peer, message)) }
        case .publish: publish()
        case .notify(let index): if brokers[index].core != nil { feed(index, .notified) }
        }
    }

    // MARK: Brokers

    private func startBroker(_ index: Int) {
        brokers[index].epoch += 1
        brokers[index].clockOffset = Int64(random.below(1_000_000))
        brokers[index].nextTick = -1
        let id = UUIDValue.random(using: &random)
        brokers[index].core = BrokerCore(id: id, random: IdentitySource(seed: random.next()))
        let endpoints = ["peers": "p\(index)", "workers": "w\(index)"]
        feed(index, .start(BrokerRegistration(id: id, host: "h", pid: 1, version: "1", endpoints: endpoints, publicKey: nil)))
        feed(index, .tick)
    }

    private func crashBroker(_ index: Int) {
        guard brokers[index].core != nil else { return }
        brokers[index].core = nil
        brokers[index].epoch += 1
        for broker in brokers[index].links.keys.sorted() { closeLink(index, broker) }
        events.add(.startBroker(index), at: time + 100 + Int64(random.below(4_000)))
    }

    private func feed(_ index: Int, _ event: BrokerEvent) {
        guard brokers[index].core != nil else { return }
        var actions: [BrokerAction] = []
        let clock = time + brokers[index].clockOffset
        brokers[index].core?.handle(event, now: clock, into: &actions)
        for action in actions { perform(action, index) }
        scheduleTick(index)
    }

    private func scheduleTick(_ index: Int) {
        guard let core = brokers[index].core else { return }
        let next = core.nextTick - brokers[index].clockOffset
        guard brokers[index].nextTick <= time || next < brokers[index].nextTick else { return }
        brokers[index].nextTick = max(next, time + 1)
        events.add(.brokerTick(index, brokers[index].epoch), at: brokers[index].nextTick)
    }

    private func perform(_ action: BrokerAction, _ index: Int) {
        switch action {
        case .reply(_, let payload, _):
            guard let root = try? Document.parse(payload: payload).root, let client = root["re"]?.integerValue else { return }
            if isStormy && random.chance(weather.lossPermille) { return }
            events.add(.toClient(Int(client), payload), at: time + delay())
        case .tell(let address, let message):
            if isStormy && random.chance(weather.lossPermille) { return }
            events.add(.toWorker(address, message), at: time + delay())
            if isStormy && random.chance(weather.doublePermille) { events.add(.toWorker(address, message), at: time + delay()) }
        case .store(let ticket, _, let request): events.add(.storeRequest(index, brokers[index].epoch, ticket, request), at: time + delay() / 4)
        case .publishToPeers(let topic, let payload): publishToPeers(topic, payload, index)
        case .connectPeer(let address, let topics): openLink(index, address.broker, topics)
        case .disconnectPeer(let broker): closeLink(index, broker)
        case .subscribePeers(let prefix, let isAdded):
            for broker in brokers[index].links.keys.sorted() { subscribe(index, broker, prefix, isAdded) }
        case .publish, .listenAnew, .note, .drained, .artifact: break
        }
    }

    // MARK: Links between brokers

    private func place(of broker: BrokerID) -> Int? { brokers.firstIndex { $0.core?.id == broker } }

    private func openLink(_ index: Int, _ broker: BrokerID, _ topics: [[UInt8]]) {
        brokers[index].links[broker] = []
        for topic in topics { subscribe(index, broker, topic, true) }
    }

    private func closeLink(_ index: Int, _ broker: BrokerID) {
        for topic in brokers[index].links[broker] ?? [] { subscribe(index, broker, topic, false) }
        brokers[index].links[broker] = nil
    }

    /// As XPUB does: the first subscription of a prefix, by whomever, and the last end of one are told.
    private func subscribe(_ index: Int, _ broker: BrokerID, _ prefix: [UInt8], _ isAdded: Bool) {
        func holders() -> Int { brokers.reduce(0) { $0 + ($1.links[broker]?.count { $0 == prefix } ?? 0) } }
        let before = holders()
        if isAdded {
            brokers[index].links[broker]?.append(prefix)
        } else if let place = brokers[index].links[broker]?.firstIndex(of: prefix) {
            brokers[index].links[broker]?.remove(at: place)
        }
        guard (before == 0) != (holders() == 0), let target = place(of: broker) else { return }
        events.add(.peerInterest(target, brokers[target].epoch, prefix, isAdded), at: time + 1)
    }

    private func publishToPeers(_ topic: [UInt8], _ payload: [UInt8], _ index: Int) {
        guard let id = brokers[index].core?.id, let message = try? PeerMessage.decode(topic: topic, payload: payload) else { return }
        for (target, place) in brokers.enumerated() where place.links[id]?.contains(where: topic.starts(with:)) == true {
            if isStormy && random.chance(weather.lossPermille) { continue }
            events.add(.fromPeer(target, place.epoch, id, message), at: time + delay())
        }
    }

    /// The store does a request; sometimes it does so and nobody is told, or it is not reached at all.
    private func execute(_ index: Int, _ epoch: Int, _ ticket: Int, _ request: StoreRequest) {
        let away = StoreReply.failed(.unavailable("the simulation says so"))
        let isLost = isStormy && random.chance(weather.unknownPermille)
        let reply = isAway || brokers[index].isCutOff ? away : store.perform(request, now: Self.epoch + time)
        events.add(.storeReply(index, epoch, ticket, isLost ? away : reply), at: time + 1 + Int64(random.below(isStormy ? 30 : 3)))
    }

    // MARK: Workers

    private func startWorker(_ index: Int) {
        workers[index].epoch += 1
        workers[index].nextTick = -1
        workers[index].worker = ScriptedWorker(
            session: UUIDValue.random(using: &random), slots: 1 + random.below(3), now: time, seed: random.next())
        join(index, random.below(brokers.count))
        scheduleWorker(index)
    }

    private func crashWorker(_ index: Int) {
        guard workers[index].worker != nil else { return }
        workers[index].worker = nil
        workers[index].epoch += 1
        events.add(.startWorker(index), at: time + 100 + Int64(random.below(5_000)))
    }

    private func join(_ index: Int, _ broker: Int) {
        workers[index].broker = broker
        workers[index].connection &+= 1
        for message in workers[index].worker?.join(now: time) ?? [] { say(index, message) }
    }

    private func say(_ index: Int, _ message: WorkerMessage) {
        let place = workers[index]
        let address = [UInt8(index), UInt8(truncatingIfNeeded: place.epoch), place.connection]
        let epoch = brokers[place.broker].epoch
        if isStormy && random.chance(weather.lossPermille) { return }
        events.add(.toBroker(place.broker, epoch, address, message), at: time + delay())
        if isStormy && random.chance(weather.doublePermille) { events.add(.toBroker(place.broker, epoch, address, message), at: time + delay()) }
    }

    private func toWorker(_ address: [UInt8], _ message: BrokerMessage) {
        let index = Int(address[0])
        let place = workers[index]
        guard place.worker != nil, UInt8(truncatingIfNeeded: place.epoch) == address[1], place.connection == address[2] else { return }
        for answer in workers[index].worker?.hear(message, now: time) ?? [] { say(index, answer) }
        scheduleWorker(index)
    }

    private func workerTick(_ index: Int) {
        guard let worker = workers[index].worker else { return }
        if worker.isLeft(now: time) { join(index, (workers[index].broker + 1) % brokers.count) }
        for message in workers[index].worker?.tick(now: time) ?? [] { say(index, message) }
        scheduleWorker(index)
    }

    private func scheduleWorker(_ index: Int) {
        guard let worker = workers[index].worker else { return }
        let next = worker.nextTick(now: time)
        guard workers[index].nextTick <= time || next < workers[index].nextTick else { return }
        workers[index].nextTick = next
        events.add(.workerTick(index, workers[index].epoch), at: next)
    }

    // MARK: Clients

    private func clientTick(_ index: Int) {
        guard !clients[index].isDone, !clients[index].hasGivenUp else { return }
        events.add(.clientTick(index), at: time + 6_000)
        let broker = random.below(brokers.count)
        if let task = clients[index].accepted {
            if clients[index].cancels {
                clients[index].cancels = false
                send(broker, #"{"op":"cancel","id":\#(index + 1_000),"ids":["\#(task)"]}"#)
            }
            send(broker, #"{"op":"wait","id":\#(index),"task":"\#(task)","timeout_ms":4000}"#)
        } else if clients[index].asked == 0 || clients[index].hasKey {
            clients[index].asked += 1
            send(broker, clients[index].request)
        } else {
            // Without a key nobody can say whether the first was accepted.
            clients[index].hasGivenUp = true
        }
    }

    private func send(_ broker: Int, _ text: String) { events.add(.fromClient(broker, Array(text.utf8)), at: time + delay()) }

    private func clientHears(_ index: Int, _ payload: [UInt8]) {
        guard index < clients.count, let root = try? Document.parse(payload: payload).root, root["ok"]?.boolValue == true else { return }
        root["tasks"]?.forEachElement { task in
            if clients[index].accepted == nil, let id = task["id"]?.stringValue.flatMap(UUIDValue.init(_:)) {
                clients[index].accepted = id
                events.add(.clientTick(index), at: time + 1)
            }
        }
        if let status = root["task"].flatMap({ TaskStatus($0) }), status.state.isTerminal { clients[index].isDone = true }
    }

    private func publish() {
        let id = UUIDValue.version7(milliseconds: Self.epoch + time, random: &random)
        let isValid = random.chance(700)
        published.append(id)
        store.publish(id, params: Array(#"{"model":"demo"\#(isValid ? "" : #","temperature":-1"#)}"#.utf8), now: Self.epoch + time)
        for index in brokers.indices where random.chance(600) { events.add(.notify(index), at: time + delay()) }
    }

    // MARK: What must hold

    /// What is broken, in words; empty where all is well.
    func violations() -> [String] {
        var broken: [String] = []
        for (index, client) in clients.enumerated() {
            if let id = client.accepted, store.tasks[id] == nil { broken.append("client \(index): accepted task \(id) is lost") }
            if !client.isDone && !client.hasGivenUp { broken.append("client \(index) never heard of its task's end") }
        }
        for task in store.tasks.values {
            if !task.state.isTerminal { broken.append("task \(task.id) is still \(task.state)") }
            if task.recorded > 1 { broken.append("task \(task.id) was completed \(task.recorded) times") }
            if (task.state == .succeeded) != (task.recorded == 1) {
                broken.append("task \(task.id): \(task.state) with \(task.recorded) completions")
            }
            if task.failures > task.maxAttempts { broken.append("task \(task.id) failed \(task.failures) of \(task.maxAttempts) times") }
        }
        for place in brokers {
            guard let shot = place.core?.snapshot else { continue }
            if shot.requestsInFlight < 0 { broken.append("requests in flight below zero") }
        }
        return broken
    }

    /// One number for the whole history: equal seeds give equal ones.
    var fingerprint: UInt64 {
        var digest: UInt64 = UInt64(bitPattern: time)
        for task in store.tasks.values.sorted(by: { $0.id < $1.id }) {
            digest = (digest ^ task.id.hi ^ task.id.lo &+ UInt64(task.attempt)) &* 0x9E37_79B9_7F4A_7C15
        }
        return digest
    }
}
