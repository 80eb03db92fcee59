import Broker
import TaskProtocol

extension SimulatedWorld {
    /// The product's, but for two things: a broker with nothing to do looks about less often (such looks are most of what happens, and find nothing) and
    /// asks for no figures, and a claim sees little of a line.
    private static let settings: BrokerSettings = {
        var settings = BrokerSettings()
        settings.idleSweepInterval = settings.sweepInterval
        settings.tickInterval = 1_000
        settings.figuresInterval = 1_000_000
        settings.durabilityInterval = 1_000_000
        settings.retryLongest = 4_000
        // So few that lines are longer than what a claim looks at.
        settings.claimWindow = 2
        return settings
    }()

    func startBroker(_ index: Int) {
        let broker = brokers[index]
        guard !broker.isUp else { return }
        broker.epoch += 1
        broker.clockOffset = fate.number(1_000_000)
        broker.nextTick = .max
        let id = BrokerID(hi: fate.random.next(), lo: fate.random.next())
        broker.isUp = true
        var settings = Self.settings
        settings.beatsUntilDead = fate.weather.beatsUntilDead
        broker.core.pointee = BrokerCore(id: id, settings: settings, random: IdentitySource(seed: fate.random.next()))
        let endpoints = ["peers": "\(index)", "workers": "\(index)"]
        tellBroker(index, .start(BrokerRegistration(id: id, host: "b\(index)", pid: index, version: "1", endpoints: endpoints, publicKey: nil)))
    }

    /// As SIGTERM does: it goes when all is committed, or when its time is over.
    func drainBroker(_ index: Int) {
        queue.add(.drainOver(index, epoch: brokers[index].epoch), at: now + 10_000)
        tellBroker(index, .drain)
    }

    func endBroker(_ index: Int, isCrash: Bool = true) {
        let broker = brokers[index]
        guard broker.isUp else { return }
        crashes += isCrash ? 1 : 0
        broker.isUp = false
        broker.epoch += 1
        broker.standsUntil = 0
        for peer in broker.links.keys.sorted() { closeLink(index, peer) }
        queue.add(.startBroker(index), at: now + 100 + fate.number(4_000))
    }

    func tellBroker(_ index: Int, _ event: BrokerEvent) {
        let broker = brokers[index]
        guard broker.isUp else { return }
        var actions = brokerActions
        brokerActions = []
        broker.core.pointee.handle(event, now: now + broker.clockOffset, into: &actions)
        // An action may be what kills its broker: the rest is lost with it.
        let epoch = broker.epoch
        for action in actions where broker.epoch == epoch { perform(action, of: index) }
        actions.removeAll(keepingCapacity: true)
        brokerActions = actions
        guard broker.isUp else { return }
        let next = broker.core.pointee.nextTick - broker.clockOffset
        guard next < broker.nextTick else { return }
        broker.nextTick = max(next, now + 1)
        queue.add(.brokerTick(index, epoch: broker.epoch), at: broker.nextTick)
    }

    private func perform(_ action: BrokerAction, of index: Int) {
        switch action {
        case .reply(_, let payload, _): send(.message) { .clientReply(payload) }
        case .tell(let address, let message): tell(address, message)
        case .store(let ticket, _, let request): ask(index, ticket, request)
        case .publishToPeers(let topic, let payload): publishToPeers(topic, payload, of: index)
        case .connectPeer(let address, let topics): openLink(index, address.broker, topics)
        case .disconnectPeer(let peer): closeLink(index, peer)
        case .subscribePeers(let prefix, let isAdded):
            for peer in brokers[index].links.keys.sorted() { subscribe(index, peer, prefix, isAdded) }
        case .drained: endBroker(index, isCrash: false)
        case .publish, .listenAnew, .note, .artifact: break
        }
    }

    private func tell(_ address: [UInt8], _ message: BrokerMessage) {
        if case .stale(let lease) = message { toldStale(lease) }
        guard let worker = workers.firstIndex(where: { $0.link?.address == address }), let link = workers[worker].link else { return }
        var point: Point? = .message
        if case .heartbeat = message { point = nil }
        let epoch = workers[worker].epoch
        send(point) { .toWorker(worker, epoch: epoch, link.id, message) }
    }

    // MARK: Links between brokers

    private func openLink(_ index: Int, _ peer: BrokerID, _ topics: [[UInt8]]) {
        brokers[index].links[peer] = []
        for topic in topics { subscribe(index, peer, topic, true) }
    }

    private func closeLink(_ index: Int, _ peer: BrokerID) {
        for topic in brokers[index].links[peer] ?? [] { subscribe(index, peer, topic, false) }
        brokers[index].links[peer] = nil
    }

    /// As XPUB does: the first subscription of a prefix, by whomever, and the last end of one are told.
    private func subscribe(_ index: Int, _ peer: BrokerID, _ prefix: [UInt8], _ isAdded: Bool) {
        func holders() -> Int { brokers.reduce(0) { $0 + ($1.links[peer]?.count { $0 == prefix } ?? 0) } }
        let before = holders()
        if isAdded {
            brokers[index].links[peer]?.append(prefix)
        } else if let place = brokers[index].links[peer]?.firstIndex(of: prefix) {
            brokers[index].links[peer]?.remove(at: place)
        }
        guard (before == 0) != (holders() == 0), let target = brokers.firstIndex(where: { $0.isUp && $0.id == peer }) else { return }
        queue.add(.peerInterest(target, epoch: brokers[target].epoch, prefix: prefix, isAdded: isAdded), at: now + 1)
    }

    private func publishToPeers(_ topic: [UInt8], _ payload: [UInt8], of index: Int) {
        let id = brokers[index].id
        var message: PeerMessage?
        for (target, place) in brokers.enumerated() where place.links[id]?.contains(where: topic.starts(with:)) == true {
            guard let said = message ?? read(topic, payload, of: index) else { return faults.append("a broker told its peers what they cannot read") }
            message = said
            send(.message) { .fromPeer(target, epoch: place.epoch, id, said) }
        }
    }

    /// What a broker says each second is most often what it said before.
    private func read(_ topic: [UInt8], _ payload: [UInt8], of index: Int) -> PeerMessage? {
        if let last = brokers[index].lastSaid, last.payload == payload, last.topic == topic { return last.message }
        guard let message = try? PeerMessage.decode(topic: topic, payload: payload) else { return nil }
        brokers[index].lastSaid = (topic, payload, message)
        return message
    }
}
