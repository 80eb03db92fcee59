import Broker
import Encodings
import QueueSimulation
import TaskProtocol

/// A broker's logic with a model of the store that answers at once, or not until the test says so.
struct CoreBench {
    var core: BrokerCore
    var store = ModelStore()
    var now: Int64 = 0
    /// Requests are kept instead of answered.
    var holds = false
    var held: [(ticket: Int, request: StoreRequest)] = []
    var replies: [Node] = []
    var told: [BrokerMessage] = []
    /// Addresses that something was said to since this was last emptied.
    var toldTo: Set<[UInt8]> = []
    var saidToPeers: [PeerMessage] = []
    var isDrained = false
    var links: [BrokerID: [[UInt8]]] = [:]
    var linksOpened = 0
    var published: [[UInt8]] = []
    /// What was asked of the artifact store.
    var artifacts: [(ticket: Int, operation: ArtifactOperation)] = []
    var notes: [BrokerNote] = []
    /// Scans for work so far.
    var scans = 0
    /// Looks at what nobody has checked, and sweeps of what has come due, so far.
    var looksForUnchecked = 0
    var sweeps = 0
    /// How often the connection for notifications was to be made anew.
    var listensAnew = 0
    /// Each look at the months of history, and what the next ones are answered; the model of the store has no months.
    var looks: [(at: Int64, policy: RetentionPolicy)] = []
    var lookReplies: [StoreReply] = []
    var session = UUIDValue(hi: 5, lo: 5)
    private var lastID: Int64 = 0
    static let epoch: Int64 = 1_700_000_000_000

    init(settings: BrokerSettings = BrokerSettings(), lookReplies: [StoreReply] = []) {
        self.lookReplies = lookReplies
        core = BrokerCore(id: UUIDValue(hi: 2, lo: 2), settings: settings, random: IdentitySource(seed: 1))
        feed(.start(BrokerRegistration(id: core.id, host: "h", pid: 1, version: "1", endpoints: ["peers": "p", "workers": "w"], publicKey: nil)))
        feed(.tick)
    }

    mutating func feed(_ event: BrokerEvent) {
        var actions: [BrokerAction] = []
        core.handle(event, now: now, into: &actions)
        for action in actions {
            switch action {
            case .reply(_, let payload, _): if let root = try? Document.parse(payload: payload).root { replies.append(root) }
            case .tell(let address, let message):
                told.append(message)
                toldTo.insert(address)
            case .store(let ticket, _, let request):
                if case .claim = request { scans += 1 }
                if case .unchecked = request { looksForUnchecked += 1 }
                if case .dueSweep = request { sweeps += 1 }
                if holds { held.append((ticket, request)) } else { answer(ticket, request) }
            case .artifact(let ticket, let operation): artifacts.append((ticket, operation))
            case .publishToPeers(let topic, let payload):
                if let message = try? PeerMessage.decode(topic: topic, payload: payload) { saidToPeers.append(message) }
            case .connectPeer(let address, let topics):
                links[address.broker] = topics
                linksOpened += 1
            case .disconnectPeer(let broker): links[broker] = nil
            case .subscribePeers(let prefix, let isAdded):
                for broker in links.keys {
                    if isAdded { links[broker]?.append(prefix) } else { links[broker]?.removeAll { $0 == prefix } }
                }
            case .publish(let topic, _): published.append(topic)
            case .note(let note): notes.append(note)
            case .drained: isDrained = true
            case .listenAnew: listensAnew += 1
            }
        }
    }

    mutating func answer(_ ticket: Int, _ request: StoreRequest) {
        if case .retain(let policy) = request {
            looks.append((now, policy))
            if !lookReplies.isEmpty { return feed(.storeReply(ticket: ticket, lookReplies.removeFirst())) }
        }
        feed(.storeReply(ticket: ticket, store.perform(request, now: Self.epoch + now)))
    }

    /// An event of a task that another broker leads.
    mutating func watchForeign(_ event: TaskEvent) {
        let other = UUIDValue(hi: 3, lo: 3)
        if links[other] == nil {
            let row = BrokerRegistration(id: other, host: "h", pid: 2, version: "1", endpoints: ["peers": "p"], publicKey: nil)
            _ = store.perform(.registerBroker(row), now: Self.epoch)
            let isHolding = holds
            holds = false
            pass(2_000)
            holds = isHolding
        }
        feed(.peerMessage(over: other, .event(event, json: event.json)))
    }

    /// Answers what was kept.
    mutating func release() {
        holds = false
        let kept = held
        held = []
        for (ticket, request) in kept { answer(ticket, request) }
    }

    /// Lets time pass in small steps.
    mutating func pass(_ milliseconds: Int64, heartbeats: Bool = false) {
        let end = now + milliseconds
        var sequence: UInt64 = 0
        while now < end {
            now += 50
            feed(.tick)
            sequence += 1
            if heartbeats, now % 1_000 < 50 { heartbeat(sequence) }
        }
    }

    /// A heartbeat that claims to hold other leases than any: it confirms nothing.
    mutating func heartbeat(_ sequence: UInt64, address: [UInt8] = [7], key: String? = nil) {
        feed(
            .workerMessage(
                from: address, key: key,
                .heartbeat(
                    WorkerHeartbeat(
                        session: session, sequence: sequence, leasesCount: 99, leasesHash: 1, freeSlots: 4, idle: false, models: [], draining: false))
            ))
    }

    /// A heartbeat of the worker that joined, with room and models; what it holds is what the broker knows of.
    mutating func beat(free: Int, models: [String]) {
        let held = grants.map(\.lease)
        feed(
            .workerMessage(
                from: [7],
                .heartbeat(
                    WorkerHeartbeat(
                        session: session, sequence: 1, leasesCount: held.count, leasesHash: WorkerLeases.hash(held), freeSlots: free, idle: false,
                        models: models, draining: false))))
    }

    /// - Parameter parameters: the names that it says it knows.
    mutating func joinWorker(
        slots: Int = 4, numerics: [String] = [], parameters: [String] = [], session other: SessionID? = nil, address: [UInt8] = [7],
        key: String? = nil, leases: [WorkerLease] = [], epoch: Int = 0
    ) {
        feed(
            .workerMessage(
                from: address, key: key,
                .register(
                    WorkerRegistration(
                        session: other ?? session, host: "h", pid: 1, version: "1", numerics: numerics, instructionSet: "plain", threads: 1,
                        slots: slots, parameters: parameters, leases: leases, epoch: epoch))))
    }

    @discardableResult
    mutating func ask(_ members: String, from client: UInt8 = 9) -> Node? {
        lastID += 1
        let before = replies.count
        feed(.clientMessage([[client], Array("{\"id\":\(lastID),\(members)}".utf8)]))
        return replies.count > before ? replies[before] : nil
    }

    @discardableResult
    mutating func submit(_ extra: String = "") -> Node? { ask(#""op":"submit","task":{"kind":"generate","params":{"model":"demo"}\#(extra)}"#) }

    @discardableResult
    mutating func finetune(output: String = "o", priority: Int = 0) -> Node? {
        let params = #"{"config":"gpt2-cpu","dataset":{"text":"a b c"},"output":"\#(output)","tokenizer":{"train":{}}}"#
        return ask(#""op":"submit","task":{"kind":"finetune","priority":\#(priority),"params":\#(params)}"#)
    }

    var grants: [WorkerGrant] { told.compactMap { if case .grant(let grant) = $0 { grant } else { nil } } }
}
