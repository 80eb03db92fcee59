package import TaskProtocol

/// Where a worker stands with the brokers of its list: which one it is joined to, and which comes next.
///
/// A worker talks to one broker at a time. A broker that says nothing for two seconds is left, and the next of the list is tried;
/// after a whole round in vain it waits, longer each time, up to four seconds. What the leases mean is the database's business, so
/// changing brokers costs nothing.
///
/// Brokers that others name are learned, behind those that the operator named: brokers come and go, and their addresses with them. In each round all of
/// the operator's are tried first. One that was learned and did not answer is forgotten once another one did: while nobody answers it may be the one
/// that comes back.
package struct BrokerLink: Sendable {
    /// The diagram: apart → joining → joined → apart.
    package enum State: Sendable, Equatable {
        /// No socket; the next endpoint is tried at `until`.
        case apart(until: Milliseconds)
        /// A socket is open and `register` was sent; `welcome` leads to `joined`, two seconds of silence to `apart`.
        case joining(LinkID, since: Milliseconds, registeredAt: Milliseconds)
        /// `welcome` came; any message counts as life, two seconds without one lead to `apart`.
        case joined(LinkID, broker: BrokerID, heardAt: Milliseconds, beatAt: Milliseconds)
    }

    /// Silence after which a broker is left.
    package static let silenceMilliseconds: Milliseconds = 2000
    private static let registerAgainMilliseconds: Milliseconds = 700
    private static let shortestWait: Milliseconds = 250
    private static let longestWait: Milliseconds = 4000

    package private(set) var state = State.apart(until: 0)
    /// Those of the operator, then those learned: what the last `welcome` named, then the others, the oldest first.
    private var endpoints: [String]
    /// How many are the operator's.
    private let given: Int
    private static let mostEndpoints = 64
    /// Learned brokers that were tried since one last said `welcome`, and did not.
    private var inVain: Set<String> = []
    /// The one that is tried next, or that it is at.
    private var next: Int
    /// The operator's that was tried last: they take turns.
    private var lastGiven: Int
    /// Those of this round that it is not at any more.
    private var tried: Set<String> = []
    private var rounds = 0
    private var links: UInt64 = 0
    private var heartbeat = Milliseconds(WorkerProtocol.heartbeatMilliseconds)

    /// - Parameters:
    ///   - endpoints: workers endpoints of the brokers, at least one.
    ///   - start: which is tried first (modulo their count), so that many workers spread.
    package init(endpoints: [String], startingAt start: Int) {
        self.endpoints = endpoints
        given = endpoints.count
        next = endpoints.isEmpty ? 0 : start % endpoints.count
        lastGiven = next
    }

    /// The link over which messages count: that of the broker joined or being joined.
    package var current: LinkID? {
        switch state {
        case .apart: nil
        case .joining(let link, _, _), .joined(let link, _, _, _): link
        }
    }

    /// The link of the broker joined.
    package var joined: LinkID? {
        guard case .joined(let link, _, _, _) = state else { return nil }
        return link
    }

    /// What time asks for.
    package enum Due: Sendable, Equatable {
        case nothing
        /// Open a socket and register over it.
        case connect(LinkID, endpoint: String)
        /// Say `register` again: the first may have been lost.
        case registerAgain(LinkID)
        /// Say `heartbeat`.
        case beat(LinkID)
        /// Close the socket: the broker is silent.
        case leave(LinkID)
    }

    /// Looks whether something is due; to be called until it answers `nothing`.
    package mutating func due(now: Milliseconds) -> Due {
        switch state {
        case .apart(let until):
            guard now >= until, !endpoints.isEmpty else { return .nothing }
            links += 1
            let link = LinkID(number: links)
            state = .joining(link, since: now, registeredAt: now)
            return .connect(link, endpoint: endpoints[next])
        case .joining(let link, let since, let registeredAt):
            if now - since >= Self.silenceMilliseconds { return leave(link, now: now) }
            guard now - registeredAt >= Self.registerAgainMilliseconds else { return .nothing }
            state = .joining(link, since: since, registeredAt: now)
            return .registerAgain(link)
        case .joined(let link, let broker, let heardAt, let beatAt):
            if now - heardAt >= Self.silenceMilliseconds { return leave(link, now: now) }
            guard now >= beatAt else { return .nothing }
            state = .joined(link, broker: broker, heardAt: heardAt, beatAt: now + heartbeat)
            return .beat(link)
        }
    }

    /// Any message of the current broker is a sign of life.
    package mutating func heard(now: Milliseconds) {
        guard case .joined(let link, let broker, _, let beatAt) = state else { return }
        state = .joined(link, broker: broker, heardAt: now, beatAt: beatAt)
    }

    /// `welcome` came over the current link.
    /// - Returns: true where that joined the broker now, false where it was joined already. One that was started anew behind the same connection is
    ///   another broker: it was told nothing.
    package mutating func welcome(_ broker: BrokerID, heartbeatMilliseconds: Int, now: Milliseconds) -> Bool {
        guard let link = current else { return false }
        let first = if case .joined(_, let known, _, _) = state { known != broker } else { true }
        heartbeat = Milliseconds(min(max(heartbeatMilliseconds, 100), 5000))
        tried = []
        rounds = 0
        forgetSilent()
        state = .joined(link, broker: broker, heardAt: now, beatAt: first ? now : min(now + heartbeat, beat(now: now)))
        return first
    }

    private mutating func forgetSilent() {
        guard !inVain.isEmpty else { return }
        let here = endpoints[next]
        endpoints = endpoints[..<given] + endpoints[given...].filter { $0 == here || !inVain.contains($0) }
        next = endpoints.firstIndex(of: here) ?? 0
        inVain = []
    }

    /// The next heartbeat is due at once: it has news that cannot wait for its time.
    package mutating func hasten(now: Milliseconds) {
        guard case .joined(let link, let broker, let heardAt, _) = state else { return }
        state = .joined(link, broker: broker, heardAt: heardAt, beatAt: now)
    }

    /// The broker asked to go to one of these; unknown ones are added to the list.
    /// - Returns: the link to close, or nil where no other broker is known.
    package mutating func moveOn(to peers: [String], now: Milliseconds) -> LinkID? {
        guard let link = current else { return nil }
        learn(peers)
        guard let peer = peers.lazy.compactMap({ [endpoints] in endpoints.firstIndex(of: $0) }).first else { return nil }
        tried.insert(endpoints[next])
        go(to: peer)
        state = .apart(until: now)
        return link
    }

    /// The broker that it is joined to named those that it hears: they come before what was learned earlier, which may have gone for good.
    package mutating func relearn(_ peers: [String]) {
        guard !endpoints.isEmpty else { return }
        let here = endpoints[next]
        let (own, learned) = (endpoints[..<given], endpoints[given...])
        let named = peers.filter { !own.contains($0) }
        endpoints = Array((own + named + learned.filter { !named.contains($0) }).prefix(max(given, Self.mostEndpoints)))
        if !endpoints.contains(here) {
            if endpoints.count > given { endpoints.removeLast() }
            endpoints.append(here)
        }
        next = endpoints.firstIndex(of: here) ?? 0
    }

    /// Adds to the list what is unknown of some brokers.
    package mutating func learn(_ peers: [String]) {
        guard !endpoints.isEmpty else { return }
        let here = endpoints[next]
        for peer in peers.prefix(Self.mostEndpoints) where !endpoints.contains(peer) { learn(peer, sparing: peers + [here]) }
        next = endpoints.firstIndex(of: here) ?? 0
    }

    /// Where there is no room, the oldest learned one goes that is not of the same list.
    private mutating func learn(_ peer: String, sparing peers: [String]) {
        if endpoints.count >= Self.mostEndpoints {
            guard let oldest = endpoints.indices.dropFirst(given).first(where: { !peers.contains(endpoints[$0]) }) else { return }
            endpoints.remove(at: oldest)
        }
        endpoints.append(peer)
    }

    private mutating func leave(_ link: LinkID, now: Milliseconds) -> Due {
        if case .joining = state, next >= given { inVain.insert(endpoints[next]) }
        tried.insert(endpoints[next])
        var wait: Milliseconds = 0
        if let untried {
            go(to: untried)
        } else {
            tried = []
            go(to: untried ?? next)
            wait = min(Self.shortestWait << min(rounds, 10), Self.longestWait)
            rounds += 1
        }
        state = .apart(until: now + wait)
        return .leave(link)
    }

    /// What comes next in this round: the operator's in turn, then those learned, in their order.
    private var untried: Int? {
        let turn = (1...max(1, given)).map { (lastGiven + $0) % max(1, given) }
        return (turn + Array(given..<endpoints.count)).first { !tried.contains(endpoints[$0]) }
    }

    private mutating func go(to place: Int) {
        next = place
        if place < given { lastGiven = place }
    }

    private func beat(now: Milliseconds) -> Milliseconds {
        guard case .joined(_, _, _, let beatAt) = state else { return now }
        return beatAt
    }
}
