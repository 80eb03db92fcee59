/// Where a reply goes: the frames in front of its request's payload, of which the first is the client's routing id.
package struct ClientAddress: Sendable, Hashable {
    /// The routing id, and the frames up to and including the first empty one; they come back unchanged.
    package var envelope: [[UInt8]]
    /// A delimiter was sent: a REQ client, which gets exactly one reply a request.
    package var isDelimited: Bool
    /// The public key that its sender has proved, in Z85; nil where there are no keys.
    package var key: String?
    /// Whether what was asked lasts as long as a task may: a wait or a watch, which has a quota of its own. Those of connections that are gone, which
    /// nobody can know, keep no other request of the same key out.
    package var waits = false

    package init(envelope: [[UInt8]], isDelimited: Bool, key: String? = nil) {
        self.envelope = envelope
        self.isDelimited = isDelimited
        self.key = key
    }

    /// The routing id: one connection, whoever may be behind it.
    package var client: [UInt8] { envelope.first ?? [] }

    /// Who asks, as quotas see it.
    var asker: Asker { key.map { .key($0) } ?? .connection(client) }
}

/// Whom a quota is counted for: the holder of a key, over all of its connections, or one connection where there are no keys.
enum Asker: Sendable, Hashable {
    case key(String)
    case connection([UInt8])
}

/// How many requests each client has in flight: nobody may fill the broker alone, all together not either.
struct ClientTable: Sendable {
    /// What is counted together: the requests of one asker, or his waits and watches.
    private struct Account: Hashable {
        var asker: Asker
        var waits: Bool

        init(_ client: ClientAddress) { (asker, waits) = (client.asker, client.waits) }
    }

    private var inFlight: [Account: Int] = [:]
    /// Requests of all clients, waits and watches among them.
    private(set) var total = 0
    /// The same without waits and watches.
    private(set) var requests = 0

    /// Requests of the same asker and kind.
    func count(of client: ClientAddress) -> Int { inFlight[Account(client), default: 0] }

    mutating func begin(_ client: ClientAddress) {
        inFlight[Account(client), default: 0] += 1
        total += 1
        requests += client.waits ? 0 : 1
    }

    mutating func end(_ client: ClientAddress) {
        guard let count = inFlight[Account(client)] else { return }
        inFlight[Account(client)] = count > 1 ? count - 1 : nil
        total -= 1
        requests -= client.waits ? 0 : 1
    }
}
