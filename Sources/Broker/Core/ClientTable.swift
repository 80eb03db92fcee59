/// Where a reply goes: the frames in front of its request's payload, of which the first is the client's routing id.
package struct ClientAddress: Sendable, Hashable {
    /// The routing id, and the frames up to and including the first empty one; they come back unchanged.
    package var envelope: [[UInt8]]
    /// A delimiter was sent: a REQ client, which gets exactly one reply a request.
    package var isDelimited: Bool
    /// The public key that its sender has proved, in Z85; nil where there are no keys.
    package var key: String?

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
    private var inFlight: [Asker: Int] = [:]
    /// Requests of all clients, waits and watches among them.
    private(set) var total = 0

    func count(of client: ClientAddress) -> Int { inFlight[client.asker, default: 0] }

    mutating func begin(_ client: ClientAddress) {
        inFlight[client.asker, default: 0] += 1
        total += 1
    }

    mutating func end(_ client: ClientAddress) {
        guard let count = inFlight[client.asker] else { return }
        inFlight[client.asker] = count > 1 ? count - 1 : nil
        total -= 1
    }
}
