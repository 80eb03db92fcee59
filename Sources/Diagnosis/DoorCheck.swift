internal import Encodings
package import Messaging

/// An endpoint of a running broker: there, and letting these keys in.
package struct DoorCheck: Check {
    /// Which of a broker's endpoints it is.
    package enum Door: String, Sendable {
        case tasks, events, workers, peers

        var kind: SocketKind { self == .events || self == .peers ? .subscriber : .dealer }
    }

    let door: Door
    let endpoint: String
    let security: SocketSecurity
    /// Milliseconds until it is called away.
    let patience: Int64

    /// - Parameter endpoint: to connect to; an address to listen on becomes this machine's.
    package init(_ door: Door, endpoint: String, security: SocketSecurity = .none, patience: Int64 = 3_000) {
        self.door = door
        self.endpoint = Listening.reachable(endpoint)
        self.security = security
        self.patience = patience
    }

    package func findings() -> [Finding] {
        do throws(MessagingError) {
            return [try knock()]
        } catch {
            return [.fail(subject, "\(error)", mend: "name an endpoint such as tcp://127.0.0.1:5570")]
        }
    }

    private var subject: String { "\(door.rawValue) endpoint" }

    private func knock() throws(MessagingError) -> Finding {
        var options = SocketOptions()
        options.security = security
        options.handshakes = .owner
        let socket = try Socket(try ZMQContext(), door.kind, options)
        try socket.connect(endpoint)
        var poller = Poller()
        poller.addHandshakes(of: socket)
        poller.add(socket)
        var judge = HandshakeJudge(endpoint: endpoint, key: security.shownKey)
        let begin = ContinuousClock.now
        func elapsed() -> Int64 { Int64((ContinuousClock.now - begin) / .milliseconds(1)) }
        var isIn = false
        while elapsed() < patience {
            try poller.wait(milliseconds: Int(max(1, patience - elapsed())))
            while let event = try socket.nextHandshake() {
                if let refusal = judge.take(event, now: elapsed()) {
                    return .fail(subject, "\(refusal)", mend: "see docs/security.md, \"Changing keys\"")
                }
                guard event == .succeeded, !isIn else { continue }
                isIn = true
                guard door == .tasks else { return .ok(subject, "\(endpoint) lets \(shown) in") }
                _ = try socket.send([Array(#"{"op":"ping","id":1}"#.utf8)])
            }
            if let message = try socket.receive() { return greeting(message.frames.last ?? []) }
        }
        guard isIn else { return .fail(subject, "nobody answers at \(endpoint)", mend: "is a broker running there, and is the way to it open?") }
        return .fail(subject, "\(endpoint) lets \(shown) in and does not answer", mend: "look into its broker's log; restart it where it hangs")
    }

    private var shown: String { security.shownKey.map { "the key \($0.fingerprint)" } ?? "anybody" }

    private func greeting(_ payload: [UInt8]) -> Finding {
        guard let reply = try? Document.parse(payload: payload).root, reply["ok"]?.boolValue == true, let version = reply["version"]?.stringValue
        else {
            return .fail(subject, "what answers at \(endpoint) is no broker", mend: "name a broker's tasks endpoint")
        }
        let found = "\(endpoint) lets \(shown) in; version \(version)"
        guard reply["durability"]?["synchronous_commit"]?.stringValue != nil else {
            return .warn(subject, found + ", its database is away", mend: "look at the database, then at the broker's log")
        }
        return .ok(subject, found)
    }
}
