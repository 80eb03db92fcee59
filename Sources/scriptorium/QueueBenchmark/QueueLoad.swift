import Encodings
import Messaging
import Supervision

/// The publishing side of `bench queue`: one DEALER socket of a client.
struct QueueLoad: ~Copyable {
    private let socket: Socket
    private var poller: Poller
    private var number: Int64 = 0

    init(context: ZMQContext, endpoint: String, security: SocketSecurity) throws(MessagingError) {
        var options = SocketOptions()
        options.sendHighWater = 10_000
        options.security = security
        let socket = try Socket(context, .dealer, options)
        try socket.connect(endpoint)
        var poller = Poller()
        _ = poller.add(socket)
        self.poller = poller
        self.socket = socket
    }

    /// Publishes tasks in requests of `batch`, keeping at most `window` requests unanswered.
    /// - Throws: ``CommandFailure`` where the broker refuses or falls silent.
    mutating func publish(_ count: Int, batch: Int, window: Int) throws {
        var sent = 0
        var answered = 0
        var outstanding = 0
        while answered < count {
            while sent < count, outstanding < window {
                let size = min(batch, count - sent)
                try send(["op": "submit", "tasks": .array(Array(repeating: Self.task, count: size))])
                sent += size
                outstanding += 1
            }
            answered += try receive()["tasks"]?.arrayValue?.count ?? 0
            outstanding -= 1
        }
    }

    /// Publishes one task and waits for its end.
    /// - Returns: seconds from publishing to the news of its success.
    mutating func roundTrip() throws -> Double {
        let begin = monotonicSeconds()
        try send(["op": "submit", "task": Self.task, "watch": true])
        while true {
            let message = try receive()
            switch message["event"]?["event"]?.stringValue {
            case "succeeded": return monotonicSeconds() - begin
            case "failed", "cancelled": throw CommandFailure.failed("a no-op task did not succeed: \(message["event"]?["error"]?.text ?? "")")
            default: continue
            }
        }
    }

    private mutating func send(_ members: JSONObject) throws {
        number += 1
        var request = members
        request["id"] = .integer(number)
        guard try socket.send([JSONValue.object(request).serialised]) == .sent else { throw CommandFailure.failed("the broker takes no requests") }
    }

    private mutating func receive() throws -> JSONValue {
        while true {
            if let message = try socket.receive() {
                let reply = try JSONValue.parse(message.frames.last ?? [], maximumDepth: 64)
                guard reply["ok"]?.boolValue == true else { throw CommandFailure.failed("the broker refused: \(reply.text)") }
                return reply
            }
            guard try poller.wait(milliseconds: 60_000) > 0 else { throw CommandFailure.failed("the broker was silent for a minute") }
        }
    }

    private static let task: JSONValue = ["kind": "generate", "params": ["model": "bench", "prompt": "", "max_length": 8]]
}

extension JSONValue {
    /// Compact JSON.
    fileprivate var text: String { String(decoding: serialised, as: UTF8.self) }
}
