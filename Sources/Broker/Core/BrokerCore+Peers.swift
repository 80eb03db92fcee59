internal import TaskProtocol

/// The links between brokers: each subscribes to the others, for the tasks that somebody here waits for or is subscribed to, and says each second how it is.
///
/// What comes over a link only makes news faster: ends, starts and retries are also read from the database each second, so that waits and watches end
/// over a broken link, too. What it costs is said in between: tokens, samples, progress, checkpoints.
extension BrokerCore {
    /// Takes the rows of all brokers that a beat saw.
    mutating func observePeers(_ rows: [BrokerRow]) {
        let changes = peers.observe(rows, own: id)
        for broker in changes.disconnect { actions.append(.disconnectPeer(broker)) }
        guard !changes.connect.isEmpty else { return }
        let interests = watchers.tasks.map { topic($0) } + subscriptions.kept
        for address in changes.connect { actions.append(.connectPeer(address, topics: [PeerMessage.brokerTopic] + interests)) }
    }

    /// Something is wanted here from now on, or no longer.
    mutating func interest(_ prefix: [UInt8], isAdded: Bool) {
        if !peers.isEmpty { actions.append(.subscribePeers(prefix: prefix, isAdded: isAdded)) }
    }

    mutating func peerMessage(_ message: PeerMessage, over link: BrokerID) {
        switch message {
        case .status(let status):
            let isNews = peers.heard(status, over: link, now: now)
            // It may be the refuge that the workers of a broker which drains wait for, or one that those of this one do not know.
            if isDraining { sendWorkersAway() } else if isNews { tellWorkersOfPeers() }
        case .wake(let broker): if broker == link, isReady { lookAgain() }
        case .event(let event, let json): if peers.isGenuine(link) { foreign(event, json) }
        }
    }

    /// An event of a task that another broker leads.
    private mutating func foreign(_ event: TaskEvent, _ json: [UInt8]) {
        let topic = topic(event.task)
        if subscriptions.wants(topic) { actions.append(.publish(topic: topic, payload: json)) }
        for number in watchers.watchers(of: event.task) {
            // An old attempt's last words, which came late, are nothing new.
            guard let watcher = watchers[number], event.attempt >= watcher.attempt else { continue }
            deliver(event, to: number)
        }
    }

    /// Tells the others how this broker is.
    mutating func sayStatus() {
        guard !peers.isEmpty, let registration else { return }
        let status = PeerStatus(
            broker: id, beatsOK: beatsAreAcknowledged, isDraining: isDraining, workersEndpoint: registration.endpoints["workers"] ?? "",
            publicKey: registration.publicKey)
        sayToPeers(.status(status))
    }

    private mutating func sayToPeers(_ message: PeerMessage) {
        actions.append(.publishToPeers(topic: PeerMessage.brokerTopic, payload: message.payload))
    }

    /// Work came in line that nobody here has room for: brokers that sleep, or are between two sweeps, look at once.
    mutating func wakePeers() {
        guard hasNewWork, !lanes.isBusy(.claim) else { return }
        guard queues.hasWork, !peers.isEmpty else {
            hasNewWork = false
            return
        }
        guard now >= nextWake else { return }
        (hasNewWork, nextWake) = (false, now + settings.wakeInterval)
        sayToPeers(.wake(id))
    }

    /// Asks the others to look at once, whatever they were last told.
    mutating func wakePeersNow() { if !peers.isEmpty { sayToPeers(.wake(id)) } }

    /// Sends the workers to brokers that reach the database (docs/architecture.md, leases): this one has not for a while, or is leaving.
    mutating func sendWorkersAway() {
        guard !peers.refuges(now: now).isEmpty else { return }
        for session in sessions.joined { tell(session.address, .leave(peers: refuges(of: session.id))) }
    }

    /// Where a worker may go to. Many workers spread over the refuges.
    private func refuges(of session: SessionID) -> [BrokerAddress] {
        let refuges = peers.refuges(now: now)
        guard !refuges.isEmpty else { return [] }
        let first = Int(session.lo % UInt64(refuges.count))
        return (refuges[first...] + refuges[..<first]).map(\.workersAddress)
    }

    /// Welcomes a worker, and names the others to it: it may know only this broker, and nobody could tell it of them once this one is dead.
    mutating func welcome(_ session: Session) {
        let refuges = refuges(of: session.id)
        sessions.told(session.id, of: refuges)
        tell(session.address, .welcome(broker: id, heartbeatMilliseconds: Int(settings.heartbeatInterval), peers: refuges))
    }

    /// Workers that joined before a broker came, or before it was heard, are welcomed again.
    private mutating func tellWorkersOfPeers() {
        let known = peers.refuges(now: now).map(\.workersAddress)
        for session in sessions.joined where !session.toldOf.isSuperset(of: known) { welcome(session) }
    }
}

extension PeerStatus {
    /// Where workers reach it.
    fileprivate var workersAddress: BrokerAddress { BrokerAddress(endpoint: workersEndpoint, publicKey: publicKey) }
}
