internal import Encodings
package import TaskProtocol

/// A broker's logic: a state machine without I/O. Events go in, actions come out, time is a parameter.
///
/// The protocol, in prose. PostgreSQL decides everything; a broker only asks and remembers. **A task** is accepted when the transaction with its row is
/// committed, and not before is its client answered. **A lease** is a random id that a start of a task gets in the store; it names its worker's session.
/// Whoever writes about the task names the lease, and a write under an old one changes nothing (`stale`). **A session** is a worker's process start:
/// the worker shows life each second, the broker counts it in one statement each 1.5 s, and only a session whose counter stood still for four whole
/// intervals of committed beats is swept: no clock ever expires anybody. **Granted is not delivered**: the worker confirms each grant; one that its
/// live worker does not know after 3 s goes back, uncounted. **A result** is repeated by its worker until it is answered `recorded` or `stale`, by whatever
/// broker it has joined then, so a broker may die at any moment: another one reads the leases of the workers that come to it, and goes on.
/// A request whose commit has an unknown outcome is sent to the store again, with the same ids, until it is known; only then is its client answered.
///
/// The sub-machines: ``ClientTable`` (who asks how much), ``StoreLanes`` (group commit and repetition), ``SessionTable`` and ``LifeCount`` (who lives),
/// ``LeaseTable`` (who runs what), ``QueueTable`` (where work waits), ``WatcherTable`` (who waits for what), ``IdleMark`` (who must be notified),
/// ``PeerTable`` (the other brokers), ``ArtifactDesk`` (whose artifacts come and go).
package struct BrokerCore: Sendable {
    package let id: BrokerID
    let settings: BrokerSettings
    let version: String
    var random: IdentitySource

    var now: Int64 = 0
    var actions: [BrokerAction] = []

    var clock = DatabaseClock()
    /// The database's clock may have been set back, and nobody has yet seen to the retries that now lie too far ahead.
    var clockWasSetBack = false
    var clients = ClientTable()
    var lanes = StoreLanes()
    var sessions = SessionTable()
    var life = LifeCount()
    var leases = LeaseTable()
    var queues = QueueTable()
    var modelNames = ModelNames()
    var modelCosts = ModelCosts()
    var snoozes = SnoozeTable()
    var watchers = WatcherTable()
    /// What clients subscribed to on the events endpoint, and other brokers on the peers endpoint.
    var subscriptions = SubscriptionTable()
    var peerSubscriptions = SubscriptionTable()
    var peers = PeerTable()
    var idle = IdleMark()
    var applicants = Applicants()
    /// Sessions whose workers said goodbye, and that could not end yet: the next sweep asks again.
    var leaving: Set<SessionID> = []
    var idleCredit = IdleCredit()
    var keptFree: KeptFree?
    /// The generation of room when the scan under way began.
    var scanGeneration: UInt64 = 0
    /// After a scan that failed there is none until then.
    var claimsRestUntil: Int64 = 0
    var artifacts: ArtifactDesk
    var timers = Timers()
    package internal(set) var counters = BrokerCounters()

    var registration: BrokerRegistration?
    /// Whether the broker's row stands in the store.
    var isRegistered = false
    /// Whether the store answered last time.
    var isStoreAway = false
    var isDraining = false
    var isDrained = false
    /// When a drain began.
    var drainBegan: Int64?
    var submitBytes = 0
    var uncheckedTasks = false
    /// The last look at what nobody has checked did not reach its end.
    var moreIsUnchecked = false
    /// The task up to which what nobody has checked was read, where others followed: where the next look goes on.
    var checkedUpTo: TaskID?
    /// Work came in line since the peers were last woken, and when they may be again.
    var hasNewWork = false
    var nextWake: Int64 = 0
    /// Up to which blocked task the last sweep looked.
    var blockedLookedAt: TaskID?
    /// Schedules that this version cannot read, each noted once.
    var unreadableSchedules: Set<String> = []
    /// Months of history that a task, a reader or the database itself keeps from being dropped, each noted once.
    var heldMonths: Set<HistoryMonth> = []
    var busyMonths: Set<HistoryMonth> = []
    var refusedMonths: Set<HistoryMonth> = []
    var lastBeatCommitted: Int64?
    var durability: Durability?
    var figures: [QueueFigures] = []
    /// Progress and training steps that wait for the store, by lease: only the newest progress is kept.
    var dirtyProgress: [LeaseID: ProgressUpdate] = [:]

    package init(id: BrokerID, version: String = "0.1.0", settings: BrokerSettings = BrokerSettings(), random: IdentitySource = IdentitySource()) {
        self.id = id
        self.version = version
        self.settings = settings
        self.random = random
        artifacts = ArtifactDesk(settings: settings)
    }

    /// Takes one event.
    /// - Parameters:
    ///   - now: monotonic milliseconds; never smaller than before.
    ///   - actions: what is to be done, in order, is appended.
    package mutating func handle(_ event: BrokerEvent, now: Int64, into actions: inout [BrokerAction]) {
        self.now = max(self.now, now)
        switch event {
        case .start(let registration):
            self.registration = registration
            lanes.add(.registerBroker(registration), to: .sessions)
        case .clientMessage(let frames, let key, let isTruncated): clientMessage(frames, key, isTruncated: isTruncated)
        case .clientLost(let client): clientLost(client)
        case .workerMessage(let address, let key, let message): workerMessage(message, from: address, key)
        case .workerKeysRevoked(let keys): shutOut(keys)
        // No topic begins so, and peers' sockets take no such message.
        case .subscription(let prefix, _) where prefix.count > SubscriptionTable.topicLength: break
        case .subscription(let prefix, let isAdded):
            subscriptions.set(prefix, isAdded: isAdded)
            interest(prefix, isAdded: isAdded)
        case .subscribersCut:
            for prefix in subscriptions.kept { interest(prefix, isAdded: false) }
            subscriptions = SubscriptionTable()
        case .peerSubscribersCut: peerSubscriptions = SubscriptionTable()
        case .peerSubscription(let prefix, let isAdded): peerSubscriptions.set(prefix, isAdded: isAdded)
        case .peerMessage(let link, let message): peerMessage(message, over: link)
        case .storeReply(let ticket, let reply): storeReply(ticket, reply)
        case .artifactAnswer(let ticket, let answer): artifactAnswer(ticket, answer)
        case .notified: notified()
        case .tick: tick()
        case .drain: beginDrain()
        }
        pump()
        wakePeers()
        if actions.isEmpty { return swap(&actions, &self.actions) }
        actions.append(contentsOf: self.actions)
        self.actions.removeAll(keepingCapacity: true)
    }

    /// Whether it serves: its row stands, the database's time is known, and the database answered last time.
    package var isReady: Bool { isRegistered && clock.isSet && !isStoreAway && !isDraining }

    /// Whether the database acknowledged the last beats.
    var beatsAreAcknowledged: Bool { lastBeatCommitted.map { now - $0 < settings.beatsOverdue } ?? false }

    // MARK: Small words used everywhere

    func wallClock() -> Int64 { clock.milliseconds(at: now) }

    mutating func note(_ note: BrokerNote) { actions.append(.note(note)) }

    mutating func tell(_ address: [UInt8], _ message: BrokerMessage) { actions.append(.tell(address, message)) }

    mutating func tell(session: SessionID, _ message: BrokerMessage) {
        if let address = sessions[session]?.address { tell(address, message) }
    }
}
