/// Where a reply goes: the frames in front of its request's payload, of which the first is the client's routing id.
package struct ClientAddress: Sendable, Hashable {
    /// The routing id, and the frames up to and including the first empty one; they come back unchanged.
    package var envelope: [[UInt8]]
    /// A delimiter was sent: a REQ client, which gets exactly one reply a request.
    package var isDelimited: Bool

    package init(envelope: [[UInt8]], isDelimited: Bool) {
        self.envelope = envelope
        self.isDelimited = isDelimited
    }

    /// The routing id.
    package var client: [UInt8] { envelope.first ?? [] }
}

/// How many requests each client has in flight: nobody may fill the broker alone, all together not either.
struct ClientTable: Sendable {
    private var inFlight: [[UInt8]: Int] = [:]
    /// Requests of all clients, waits and watches among them.
    private(set) var total = 0

    func count(of client: [UInt8]) -> Int { inFlight[client, default: 0] }

    mutating func begin(_ client: [UInt8]) {
        inFlight[client, default: 0] += 1
        total += 1
    }

    mutating func end(_ client: [UInt8]) {
        guard let count = inFlight[client] else { return }
        inFlight[client] = count > 1 ? count - 1 : nil
        total -= 1
    }
}
