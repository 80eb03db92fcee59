internal import Glibc
internal import Logging
internal import Measures
internal import Messaging
internal import TaskProtocol

/// The one thread that owns a broker's sockets and its logic. It reads, handles, writes, and never waits for anything but all of them at once.
struct Reactor: ~Copyable {
    private let tasks: Socket
    private var events: Socket
    private let workers: Socket
    /// Other brokers subscribe here, as this one does at theirs over its links.
    private var peers: Socket
    private let context: ZMQContext
    private let options: BrokerOptions
    /// Where it listens.
    let endpoints: BrokerEndpoints
    private var links: PeerLinks
    private var poller: Poller
    private let places: (tasks: Int, events: Int, workers: Int, peers: Int, wakeup: Int)

    private let inbox: ReactorInbox
    private let store: any StoreGateway
    private let artifacts: ArtifactThreads?
    private let logger: Logger
    private var core: BrokerCore
    private var revoked: RevokedKeys
    private var clientQueues = PeerQueues()
    private var workerQueues = PeerQueues(bytesPerPeer: 256 << 20, patience: 10_000)
    private var database = HistogramFamily(.work, labels: ["request"])
    private var limiter = NoteLimiter()
    private var nonsense = NoteLimiter()
    private var malformed = 0
    private var lastSnapshot: Int64 = 0
    private var lastFlush: Int64 = 0
    private var isServing = false
    private var isDrained = false
    private var drainingSince: Int64?
    private let started = ContinuousClock.now

    /// Messages, and bytes, read from one socket before the others have their turn.
    private static let messagesPerTurn = 256
    private static let bytesPerTurn = 16 << 20
    /// Milliseconds after which its starter waits no longer for the database's first words.
    private static let startPatience: Int64 = 10_000

    /// Binds all sockets, on the calling thread.
    init(
        _ context: ZMQContext, _ options: BrokerOptions, _ core: BrokerCore, _ store: any StoreGateway, _ artifacts: ArtifactThreads?,
        _ inbox: ReactorInbox,
        _ logger: Logger
    ) throws(MessagingError) {
        let tasks = try Socket(context, .router, options.socketOptions(.tasks))
        let events = try Socket(context, .extendedPublisher, options.socketOptions(.events))
        let workers = try Socket(context, .router, options.socketOptions(.workers))
        let peers = try Socket(context, .extendedPublisher, options.socketOptions(.peers))
        let endpoints = BrokerEndpoints(
            tasks: try tasks.bind(options.tasksEndpoint), events: try events.bind(options.eventsEndpoint),
            workers: try workers.bind(options.workersEndpoint), peers: try peers.bind(options.peersEndpoint))
        var poller = Poller()
        places = (poller.add(tasks), poller.add(events), poller.add(workers), poller.add(peers), poller.add(inbox.wakeup))
        self.poller = poller
        links = PeerLinks(context, options.security)
        (self.context, self.options, self.endpoints) = (context, options, endpoints)
        self.tasks = tasks
        self.events = events
        self.workers = workers
        self.peers = peers
        self.core = core
        revoked = RevokedKeys(options.security?.access)
        self.store = store
        self.artifacts = artifacts
        self.inbox = inbox
        self.logger = logger
    }

    /// The wait's members in their order, the links last: made anew when those change.
    private mutating func watchLinks() {
        var poller = Poller()
        poller.add(tasks)
        poller.add(events)
        poller.add(workers)
        poller.add(peers)
        poller.add(inbox.wakeup)
        links.join(&poller)
        self.poller = poller
    }

    private func now() -> Int64 {
        let (seconds, attoseconds) = (ContinuousClock.now - started).components
        return seconds * 1_000 + attoseconds / 1_000_000_000_000_000
    }

    /// Runs until it is stopped, or drained.
    mutating func run(_ registration: BrokerRegistration, drainMilliseconds: Int64) throws(MessagingError) {
        handle(.start(registration))
        while !inbox.isStopped && !isOver(drainMilliseconds) {
            let pause = max(0, min(core.nextTick - now(), clientQueues.isEmpty && workerQueues.isEmpty ? 100 : 10))
            try poller.wait(milliseconds: Int(pause))
            if poller.isReadable(places.wakeup) { takeInbox() }
            if poller.isReadable(places.workers) { try readWorkers() }
            if poller.isReadable(places.tasks) { try readClients() }
            if poller.isReadable(places.events) { try readSubscriptions() }
            if poller.isReadable(places.peers) { try readPeerSubscriptions() }
            try readLinks()
            try shutOutRevoked()
            handle(.tick)
            flush()
            publishSnapshot()
            beginToServe()
        }
        inbox.publish(finalSnapshot())
    }

    /// Lets its starter go on once requests are taken, or once it is known that the database keeps them waiting.
    private mutating func beginToServe() {
        guard !isServing, core.isReady || core.isStoreAway || now() >= Self.startPatience else { return }
        isServing = true
        inbox.publish(finalSnapshot())
        inbox.enter(.serving(endpoints))
    }

    /// A drain ends when all is committed and taken, or when its time is over.
    private func isOver(_ drainMilliseconds: Int64) -> Bool {
        guard let since = drainingSince else { return false }
        return (isDrained && clientQueues.isEmpty && workerQueues.isEmpty) || now() - since > drainMilliseconds
    }

    // MARK: Revoked keys

    /// A worker is left before anything more is granted to it. Who only listens says nothing that could be refused: a list without its key cuts off all who
    /// listen, and those who may do so are back within moments.
    private mutating func shutOutRevoked() throws(MessagingError) {
        if revoked.takeNew(in: BrokerDoor.workers.rawValue) { handle(.workerKeysRevoked(revoked.all(in: BrokerDoor.workers.rawValue))) }
        if revoked.takeNew(in: BrokerDoor.events.rawValue) {
            events = try newPublisher(.events)
            watchLinks()
            try Self.bindAgain(events, endpoints.events)
            handle(.subscribersCut)
        }
        if revoked.takeNew(in: BrokerDoor.peers.rawValue) {
            peers = try newPublisher(.peers)
            watchLinks()
            try Self.bindAgain(peers, endpoints.peers)
            handle(.peerSubscribersCut)
        }
    }

    /// It reports no handshakes: the reader of those of its kind stays with the first. Refused keys are the authenticator's to tell in any case.
    private func newPublisher(_ door: BrokerDoor) throws(MessagingError) -> Socket {
        var options = options.socketOptions(door)
        options.handshakes = .nobody
        return try Socket(context, .extendedPublisher, options)
    }

    /// The old socket's listener closes in the background.
    private static func bindAgain(_ socket: borrowing Socket, _ endpoint: String) throws(MessagingError) {
        let end = ContinuousClock.now + .seconds(2)
        while true {
            do throws(MessagingError) {
                try socket.bind(endpoint)
                return
            } catch {
                guard ContinuousClock.now < end else { throw error }
                usleep(1_000)
            }
        }
    }

    // MARK: In

    private mutating func takeInbox() {
        inbox.wakeup.drain()
        let items = inbox.take()
        for answer in items.answers {
            database.record(answer.seconds, [answer.kind])
            handle(.storeReply(ticket: answer.ticket, answer.reply))
        }
        for (ticket, answer) in items.artifacts { handle(.artifactAnswer(ticket: ticket, answer)) }
        if items.isNotified { handle(.notified) }
        if items.isDraining {
            drainingSince = drainingSince ?? now()
            handle(.drain)
        }
    }

    private mutating func readClients() throws(MessagingError) {
        var bytes = 0
        for _ in 0..<Self.messagesPerTurn where bytes < Self.bytesPerTurn {
            guard let message = try tasks.receive(maximumFrames: 12, maximumBytes: 64 << 20, namesUser: true) else { return }
            bytes += message.frames.last?.count ?? 0
            if revoked.contains(message.user, in: BrokerDoor.tasks.rawValue) { continue }
            handle(.clientMessage(message.frames, key: message.user, isTruncated: message.isTruncated))
        }
    }

    /// Messages of workers come in one frame or, where they are long, in several.
    private mutating func readWorkers() throws(MessagingError) {
        var taken = 0
        for _ in 0..<Self.messagesPerTurn where taken < Self.bytesPerTurn {
            let hasKeys = options.security != nil
            guard let message = try workers.receive(maximumFrames: 32, maximumBytes: 256 << 20, namesUser: hasKeys) else { return }
            if revoked.contains(message.user, in: BrokerDoor.workers.rawValue) { continue }
            guard let address = message.frames.first, message.frames.count > 1, !message.isTruncated else {
                malformed += 1
                continue
            }
            let bytes = message.frames.count == 2 ? message.frames[1] : Array(message.frames.dropFirst().joined())
            taken += bytes.count
            do throws(WorkerProtocolError) {
                handle(.workerMessage(from: address, key: message.user, try WorkerMessage.decode(bytes)))
            } catch {
                malformed += 1
            }
        }
    }

    private mutating func readSubscriptions() throws(MessagingError) {
        for _ in 0..<Self.messagesPerTurn {
            guard let message = try events.receive(maximumFrames: 1, maximumBytes: 4_096) else { return }
            if let (prefix, isAdded) = Self.subscription(message) { handle(.subscription(prefix: prefix, isAdded: isAdded)) }
        }
    }

    private mutating func readPeerSubscriptions() throws(MessagingError) {
        for _ in 0..<Self.messagesPerTurn {
            guard let message = try peers.receive(maximumFrames: 1, maximumBytes: 4_096) else { return }
            if let (prefix, isAdded) = Self.subscription(message) { handle(.peerSubscription(prefix: prefix, isAdded: isAdded)) }
        }
    }

    /// XPUB's message about a subscription: 1 or 0, then the prefix. Anything else comes from a stranger.
    private static func subscription(_ message: Multipart) -> (prefix: [UInt8], isAdded: Bool)? {
        guard let frame = message.frames.first, let kind = frame.first, kind <= 1 else { return nil }
        return (Array(frame.dropFirst()), kind == 1)
    }

    /// What other brokers publish; a message that is none of theirs is counted and dropped. One that does not let this one in is named in the log: its
    /// tasks' tokens do not come here.
    private mutating func readLinks() throws(MessagingError) {
        for refusal in try links.refusals(poller, now: now()) {
            guard let unsaid = limiter.admit(refusal.description, now: now()) else { continue }
            logger.error("key refused by another broker", metadata: ["error": "\(refusal)", "unsaid": "\(unsaid)"])
        }
        for broker in links.readable(poller) {
            for _ in 0..<Self.messagesPerTurn {
                guard let message = try links.receive(from: broker) else { break }
                guard message.frames.count == 2, !message.isTruncated,
                    let decoded = try? PeerMessage.decode(topic: message.frames[0], payload: message.frames[1])
                else {
                    malformed += 1
                    continue
                }
                handle(.peerMessage(over: broker, decoded))
            }
        }
    }

    // MARK: Out

    private mutating func handle(_ event: BrokerEvent) {
        var actions: [BrokerAction] = []
        core.handle(event, now: now(), into: &actions)
        for action in actions { perform(action) }
    }

    private mutating func perform(_ action: BrokerAction) {
        switch action {
        case .reply(let address, _, _) where revoked.contains(address.key, in: BrokerDoor.tasks.rawValue): handle(.clientLost(address.client))
        case .reply(let address, let payload, let isDroppable):
            let entry = PeerQueues.Entry(frames: address.envelope + [payload], isDroppable: isDroppable)
            for client in offer(entry, address.client) { handle(.clientLost(client)) }
        case .tell(let address, let message): tell(address, message)
        case .publish(let topic, let payload): _ = try? events.send([topic, payload])
        case .publishToPeers(let topic, let payload): _ = try? peers.send([topic, payload])
        case .connectPeer, .disconnectPeer, .subscribePeers: link(action)
        case .store(let ticket, let lane, let request): ask(ticket, lane, request)
        case .listenAnew: store.listenAnew()
        case .artifact(let ticket, let operation): ask(ticket, operation)
        case .note(let note): log(note)
        case .drained: isDrained = true
        }
    }

    /// What makes no sense is not told each time that somebody says it.
    private mutating func log(_ note: BrokerNote) {
        if case .unknownAnswer(let what) = note, nonsense.admit(what, now: now()) == nil { return }
        logger.log(note)
    }

    private mutating func link(_ action: BrokerAction) {
        do throws(MessagingError) {
            switch action {
            case .connectPeer(let address, let topics):
                try links.open(address, topics: topics)
                watchLinks()
            case .disconnectPeer(let broker):
                // The wait must not hold a socket that is closed.
                links.close(broker)
                watchLinks()
            case .subscribePeers(let prefix, let isAdded): try links.subscribe(prefix, isAdded: isAdded)
            default: break
            }
        } catch {
            logger.warning("a link to another broker failed", metadata: ["error": "\(error)"])
        }
    }

    private func ask(_ ticket: Int, _ lane: StoreLane, _ request: StoreRequest) {
        let (inbox, kind, asked) = (inbox, request.name, ContinuousClock.now)
        store.perform(request, lane: lane) { reply in
            inbox.add(ReactorInbox.Answer(ticket: ticket, reply: reply, kind: kind, seconds: (ContinuousClock.now - asked) / .seconds(1)))
        }
    }

    private mutating func ask(_ ticket: Int, _ operation: ArtifactOperation) {
        guard let artifacts else {
            return handle(.artifactAnswer(ticket: ticket, .refused(ContractError(.unavailable, "this broker has no artifact store"))))
        }
        let inbox = inbox
        artifacts.perform(operation) { inbox.add(ticket: ticket, $0) }
    }

    /// - Returns: the clients that are given up for want of room.
    private mutating func offer(_ entry: PeerQueues.Entry, _ client: [UInt8]) -> [[UInt8]] {
        if !clientQueues.isWaiting(client), let outcome = try? tasks.send(entry.frames), outcome == .sent { return [] }
        return clientQueues.add(entry, for: client, now: now())
    }

    private mutating func tell(_ address: [UInt8], _ message: BrokerMessage) {
        let encoded = message.encoded
        let size = WorkerProtocol.maximumFrameBytes
        let parts = stride(from: 0, to: max(encoded.count, 1), by: size).map { Array(encoded[$0..<min($0 + size, encoded.count)]) }
        let entry = PeerQueues.Entry(frames: [address] + parts, isDroppable: false)
        if !workerQueues.isWaiting(address), let outcome = try? workers.send(entry.frames) {
            // A worker that left is not waited for: what it must know is said again where it is heard next.
            if outcome != .wouldBlock { return }
        }
        _ = workerQueues.add(entry, for: address, now: now())
    }

    private mutating func flush() {
        let time = now()
        guard time - lastFlush >= 10, !(clientQueues.isEmpty && workerQueues.isEmpty) else { return }
        lastFlush = time
        let lost = Self.flush(&clientQueues, tasks, time) { Self.outcome($0, of: $1) }
        for client in lost { handle(.clientLost(client)) }
        // A worker that left is not waited for.
        _ = Self.flush(&workerQueues, workers, time) { outcome, _ in outcome == .wouldBlock ? .later : .taken }
    }

    private static func flush(
        _ queues: inout PeerQueues, _ socket: borrowing Socket, _ time: Int64, _ judge: (SendOutcome, [[UInt8]]) -> PeerQueues.Outcome
    ) -> [[UInt8]] {
        queues.flush(now: time) { frames in (try? socket.send(frames)).map { judge($0, frames) } ?? .later }
    }

    /// A routing id that begins with 0 is one that the ROUTER gave to a connection, and no other gets it (zmq_socket(3)); a client that chose its own may
    /// come back under it.
    private static func outcome(_ outcome: SendOutcome, of frames: [[UInt8]]) -> PeerQueues.Outcome {
        switch outcome {
        case .sent: .taken
        case .wouldBlock: .later
        case .unreachable: frames.first?.first == 0 ? .gone : .later
        }
    }

    // MARK: Snapshots

    private mutating func publishSnapshot() {
        let time = now()
        guard time - lastSnapshot >= 100 else { return }
        lastSnapshot = time
        inbox.publish(finalSnapshot())
    }

    private func finalSnapshot() -> BrokerSnapshot {
        var shot = core.snapshot
        shot.database = database
        shot.malformedWorkerMessages = malformed
        shot.droppedReplies = clientQueues.dropped
        return shot
    }
}
