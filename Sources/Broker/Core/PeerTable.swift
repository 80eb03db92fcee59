internal import TaskProtocol

/// Another broker of the installation, as this one sees it.
struct Peer: Sendable {
    let id: BrokerID
    let endpoint: String
    let publicKey: String?
    /// Its beats, and how many of ours in a row have seen that number.
    var counter: Int64
    var beatsStill = 0
    /// How many of our beats have seen it live while it said nothing over the link.
    var beatsUnheard = 0
    /// What it said last, and when.
    var status: PeerStatus?
    var heardAt: Int64?
    /// Somebody else answers at its endpoint (a loopback address of another machine): nothing that comes from there counts.
    var isMistaken = false

    /// So long after it was heard it is no refuge.
    private static let silence: Int64 = 3_000

    func isSilent(now: Int64) -> Bool { heardAt.map { now - $0 > Self.silence } ?? true }

    fileprivate mutating func heard(_ status: PeerStatus, now: Int64) -> Bool {
        beatsUnheard = 0
        isMistaken = status.broker != id
        guard !isMistaken else { return false }
        defer { (self.status, heardAt) = (status, now) }
        return status != self.status || isSilent(now: now)
    }
}

/// The brokers that this one is linked to: those in `brokers` whose beats rise.
struct PeerTable: Sendable {
    /// What one look at the rows asks for.
    struct Changes: Sendable, Equatable {
        var connect: [PeerAddress] = []
        var disconnect: [BrokerID] = []
    }

    /// A broker that died stays in its table for minutes; a link to it is given up when its beats have stood still for so many of ours.
    private static let beatsUntilUnlinked = 7
    /// A link over which a live broker says nothing for so many beats is made anew: a socket whose key was refused never tries again.
    private static let beatsUntilAnew = 10
    private static let bound = 256
    private(set) var all: [BrokerID: Peer] = [:]
    /// Rows without a link: their beats stood still when the link was given up.
    private var still: [BrokerID: Int64] = [:]

    var isEmpty: Bool { all.isEmpty }

    subscript(id: BrokerID) -> Peer? { all[id] }

    /// Takes the rows that one beat saw.
    mutating func observe(_ rows: [BrokerRow], own: BrokerID) -> Changes {
        var changes = Changes()
        let ids = Set(rows.map(\.id))
        for id in all.keys.sorted() where !ids.contains(id) { drop(id, &changes) }
        still = still.filter { ids.contains($0.key) }
        for row in rows.sorted(by: { $0.id < $1.id }) where row.id != own { observe(row, &changes) }
        return changes
    }

    private mutating func observe(_ row: BrokerRow, _ changes: inout Changes) {
        if var peer = all[row.id] {
            peer.beatsStill = row.counter == peer.counter ? peer.beatsStill + 1 : 0
            peer.counter = row.counter
            peer.beatsUnheard += 1
            if peer.beatsStill >= Self.beatsUntilUnlinked || row.peersEndpoint != peer.endpoint || row.publicKey != peer.publicKey {
                drop(row.id, &changes)
                if peer.beatsStill >= Self.beatsUntilUnlinked { still[row.id] = row.counter }
                return
            }
            if peer.beatsUnheard >= Self.beatsUntilAnew {
                peer.beatsUnheard = 0
                changes.disconnect.append(row.id)
                changes.connect.append(PeerAddress(broker: row.id, endpoint: peer.endpoint, publicKey: peer.publicKey))
            }
            all[row.id] = peer
        } else if still[row.id] != row.counter, let endpoint = row.peersEndpoint, all.count < Self.bound {
            still[row.id] = nil
            all[row.id] = Peer(id: row.id, endpoint: endpoint, publicKey: row.publicKey, counter: row.counter)
            changes.connect.append(PeerAddress(broker: row.id, endpoint: endpoint, publicKey: row.publicKey))
        }
    }

    private mutating func drop(_ id: BrokerID, _ changes: inout Changes) {
        all[id] = nil
        changes.disconnect.append(id)
    }

    /// A status came over the link to a broker.
    /// - Returns: whether it may be a refuge that it was not before.
    mutating func heard(_ status: PeerStatus, over link: BrokerID, now: Int64) -> Bool {
        guard let index = all.index(forKey: link) else { return false }
        return all.values[index].heard(status, now: now)
    }

    /// Whether what comes over a link comes from the broker that it is meant to reach.
    func isGenuine(_ link: BrokerID) -> Bool { all[link].map { !$0.isMistaken } ?? false }

    /// Brokers whose beats the database acknowledges, for workers to go to: the longest known first.
    func refuges(now: Int64) -> [PeerStatus] {
        all.values.sorted { $0.id < $1.id }.compactMap { peer in
            guard let status = peer.status, !peer.isSilent(now: now) else { return nil }
            return status.beatsOK && !status.isDraining ? status : nil
        }
    }
}
