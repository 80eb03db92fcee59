package import Measures
package import TaskProtocol

/// What can happen to a broker: the only ways into its logic.
package enum BrokerEvent: Sendable {
    /// The process is ready to work; its row is to be made. Comes first, once.
    case start(BrokerRegistration)
    /// All frames of a message on the tasks endpoint, routing id first; the public key of its sender, where CURVE has proved one; and whether
    /// it had more frames or bytes, which were dropped.
    case clientMessage([[UInt8]], key: String? = nil, isTruncated: Bool = false)
    /// A client took nothing for so long, or has so much waiting, that its watches end.
    case clientLost([UInt8])
    /// All connections to the events endpoint were cut; who may come back subscribes anew.
    case subscribersCut
    /// The same of the peers endpoint.
    case peerSubscribersCut
    /// A well-formed message on the workers endpoint, and the public key of its sender where CURVE has proved one.
    case workerMessage(from: [UInt8], key: String? = nil, WorkerMessage)
    /// Keys of workers stand in no list any more: all that are shut out by now.
    case workerKeysRevoked(Set<String>)
    /// Somebody subscribed on the events endpoint, or ceased to.
    case subscription(prefix: [UInt8], isAdded: Bool)
    /// Another broker subscribed on the peers endpoint, or ceased to.
    case peerSubscription(prefix: [UInt8], isAdded: Bool)
    /// A well-formed message over the link to another broker.
    case peerMessage(over: BrokerID, PeerMessage)
    /// The store's answer to ``BrokerAction/store(ticket:_:)``.
    case storeReply(ticket: Int, StoreReply)
    /// The artifact store's answer to ``BrokerAction/artifact(ticket:_:)``.
    case artifactAnswer(ticket: Int, ArtifactAnswer)
    /// Something was published or unblocked in SQL.
    case notified
    /// Time has passed: at ``BrokerCore/nextTick`` at the latest.
    case tick
    /// Nothing new is to be taken; what is under way is finished.
    case drain
}

/// What a broker's logic asks of the world.
package enum BrokerAction: Sendable {
    /// Send a payload to a client. One that is droppable (a token event) goes first where there is no room.
    case reply(ClientAddress, payload: [UInt8], isDroppable: Bool)
    /// Send a message to a worker by its routing id.
    case tell([UInt8], BrokerMessage)
    /// Publish on the events endpoint.
    case publish(topic: [UInt8], payload: [UInt8])
    /// Publish on the peers endpoint.
    case publishToPeers(topic: [UInt8], payload: [UInt8])
    /// Open a link to another broker's peers endpoint, subscribed to these prefixes.
    case connectPeer(PeerAddress, topics: [[UInt8]])
    /// Close the link to a broker.
    case disconnectPeer(BrokerID)
    /// Subscribe to a prefix on all links, or cease to; each addition has one removal.
    case subscribePeers(prefix: [UInt8], isAdded: Bool)
    /// Ask the store; its answer comes back as ``BrokerEvent/storeReply(ticket:_:)``.
    case store(ticket: Int, lane: StoreLane, StoreRequest)
    /// Make the connection that notifications come over anew: one may have been lost with it.
    case listenAnew
    /// Ask the artifact store; its answer comes back as ``BrokerEvent/artifactAnswer(ticket:_:)``.
    case artifact(ticket: Int, ArtifactOperation)
    /// Something for the log.
    case note(BrokerNote)
    /// A drain is complete: the process may end.
    case drained
}

/// Where another broker publishes for its peers.
package struct PeerAddress: Sendable, Equatable {
    package var broker: BrokerID
    package var endpoint: String
    /// Its CURVE public key, where it has one.
    package var publicKey: String?

    package init(broker: BrokerID, endpoint: String, publicKey: String?) {
        self.broker = broker
        self.endpoint = endpoint
        self.publicKey = publicKey
    }
}

/// What is worth a line in the log.
package enum BrokerNote: Sendable, Equatable {
    case storeAway(String)
    case storeBack
    case workerJoined(SessionID, host: String, pid: Int, slots: Int)
    case workerLeft(SessionID, why: String)
    case sessionDead(SessionID)
    case leaseReleased(task: TaskID, lease: LeaseID, why: String)
    case attemptFailed(task: TaskID, attempt: Int, code: String, final: Bool)
    case staleWrite(task: TaskID, lease: LeaseID)
    case storeRefused(String)
    /// A schedule's cron expression is of a later version: others make its tasks.
    case scheduleUnreadable(String)
    /// A month of history is gone, as its retention says.
    case monthDropped(HistoryMonth)
    /// A month should go, and a task holds it back.
    case monthHeld(HeldMonth)
    /// A month should go, and somebody reads it.
    case monthBusy(HistoryMonth)
    /// A month should go, and the database refuses it for good: an operator has to look.
    case monthRefused(RefusedMonth)
    case unknownAnswer(String)
}

/// Counts since the process started, for metrics.
package struct BrokerCounters: Sendable, Equatable {
    package var requests: [String: Int] = [:]
    package var refusals: [String: Int] = [:]
    package var submitted = 0
    package var recorded = 0
    package var failed = 0
    package var cancelled = 0
    package var retries = 0
    package var lapsed = 0
    package var staleWrites = 0
    package var tokens = 0
    package var grants = 0
    package var released = 0
    package var malformedRequests = 0
    /// How often due work stood beside free room until everything was looked at.
    package var missedWork = 0
    /// Leases that ended because their worker died; those among ``lapsed`` that no task brought about.
    package var leaseLosses = 0
    /// Training steps that were dropped because the database was away for too long.
    package var droppedTrainingSteps = 0
    /// Seconds from due to start, by queue.
    package var queueWait = HistogramFamily(.requests, labels: ["queue"])
    /// Seconds from start to end of an attempt, by kind and outcome.
    package var taskDuration = HistogramFamily(.requests, labels: ["kind", "outcome"])
    package var artifactBytesIn = 0
    package var artifactBytesOut = 0

    package init() {}
}
