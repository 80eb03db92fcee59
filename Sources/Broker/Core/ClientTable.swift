/// Where a reply goes: the envelope frames of its request, of which the first is the client's routing id.
package struct ClientAddress: Sendable, Hashable {
    /// The frames up to and including the first empty one; they come back unchanged.
    package var envelope: [[UInt8]]

    package init(envelope: [[UInt8]]) { self.envelope = envelope }

    /// The routing id.
    package var client: [UInt8] { envelope.first ?? [] }

    /// Whether a delimiter was sent: a REQ client, which gets exactly one reply a request.
    package var hasDelimiter: Bool { envelope.last?.isEmpty ?? false }

    /// Splits a message into its envelope and its one payload frame.
    ///
    /// Frames up to and including the first empty one, at most eight after the routing id, are the envelope; without one the routing id alone is.
    /// - Returns: the address, and the payload or nil where not exactly one frame follows.
    package static func split(_ frames: [[UInt8]]) -> (address: ClientAddress, payload: [UInt8]?) {
        let delimiter = frames.dropFirst().prefix(8).firstIndex(where: \.isEmpty)
        let start = (delimiter ?? 0) + 1
        let address = ClientAddress(envelope: Array(frames.prefix(start)))
        return (address, frames.count == start + 1 ? frames[start] : nil)
    }
}

/// How many requests each client has in flight: nobody may fill the broker alone, all together not either.
struct ClientTable: Sendable {
    private var inFlight: [[UInt8]: Int] = [:]
    /// Requests of all clients that wait for the store.
    private(set) var total = 0

    /// Whether one more request of this client may be taken.
    func admits(_ client: [UInt8], settings: BrokerSettings) -> Bool {
        total < settings.requestsInFlight && inFlight[client, default: 0] < settings.requestsPerClient
    }

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
