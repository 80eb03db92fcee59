internal import DequeModule
internal import TaskProtocol

/// Requests for artifacts on their way to the store's threads: a credit of their own, so that no amount of them delays anything else.
///
/// A few are under way at once; the others wait in a line a peer, and the lines have their turns, so that one worker's gigabytes do not hold up
/// another's. A peer whose line is full, or any put while too many bytes wait, is answered `busy`: our own clients and workers never have more than
/// four parts under way.
struct ArtifactDesk: Sendable {
    /// Whose turn it is: a client as its quotas see it, or one of a worker's connections.
    enum Peer: Sendable, Hashable {
        case client(Broker.Asker)
        case worker([UInt8])
    }

    /// A request, and where its answer goes.
    enum Asker: Sendable {
        case client(RequestReference)
        case worker([UInt8], number: Int64)

        var peer: Peer {
            switch self {
            case .client(let request): .client(request.address.asker)
            case .worker(let address, _): .worker(address)
            }
        }
    }

    private struct Request: Sendable {
        let asker: Asker
        let operation: ArtifactOperation
    }

    private let settings: BrokerSettings
    private var lines: [Peer: Deque<Request>] = [:]
    /// Peers with a line, whose turn it is first.
    private var turns: Deque<Peer> = []
    private var underWay: [Int: Asker] = [:]
    private var waitingBytes = 0
    private var lastTicket = 0

    init(settings: BrokerSettings) { self.settings = settings }

    var isEmpty: Bool { underWay.isEmpty && turns.isEmpty }
    var underWayCount: Int { underWay.count }
    var waitingCount: Int { lines.values.reduce(0) { $0 + $1.count } }

    /// Puts a request in its peer's line.
    /// - Returns: false where there is no room: it is to be answered `busy`.
    mutating func add(_ operation: ArtifactOperation, from asker: Asker) -> Bool {
        let line = lines[asker.peer]?.count ?? 0
        guard line < settings.artifactsPerPeer, waitingBytes + operation.byteCount <= settings.artifactBytes, turns.count < settings.artifactPeers
        else {
            return false
        }
        if line == 0 { turns.append(asker.peer) }
        lines[asker.peer, default: []].append(Request(asker: asker, operation: operation))
        waitingBytes += operation.byteCount
        return true
    }

    /// The next request for the store, while fewer than the credit are under way.
    mutating func next() -> (ticket: Int, operation: ArtifactOperation)? {
        guard underWay.count < settings.artifactsUnderWay, let peer = turns.popFirst(), let request = lines[peer]?.popFirst() else { return nil }
        if lines[peer]?.isEmpty == true { lines[peer] = nil } else { turns.append(peer) }
        waitingBytes -= request.operation.byteCount
        lastTicket += 1
        underWay[lastTicket] = request.asker
        return (lastTicket, request.operation)
    }

    /// The store has answered.
    /// - Returns: who asked; nil where nobody waits for it.
    mutating func finish(_ ticket: Int) -> Asker? { underWay.removeValue(forKey: ticket) }

    /// Takes back what waits and was never handed on.
    mutating func takeWaiting() -> [Asker] {
        let askers = turns.flatMap { lines[$0]?.map(\.asker) ?? [] }
        (lines, turns, waitingBytes) = ([:], [], 0)
        return askers
    }
}
