internal import Encodings

/// What brokers say to each other over their peers endpoints (docs/worker-protocol.md): two frames, a topic and a payload.
///
/// Under the topic `broker` a MessagePack map says how its sender is; under `task.<id>` the JSON of an event goes as the events endpoint sends it.
/// A broker publishes only what was born under itself, so nothing goes round in circles.
package enum PeerMessage: Sendable, Equatable {
    /// How the sender is, each second.
    case status(PeerStatus)
    /// Work waits that the sender has no room for: who has some looks at once.
    case wake(BrokerID)
    /// Something happened to a task that the sender leads; `json` is the event as it came.
    case event(TaskEvent, json: [UInt8])

    /// The topic of ``status(_:)`` and ``wake(_:)``.
    package static let brokerTopic = Array("broker".utf8)

    /// Reads a message; what later versions add is refused here and ignored by the caller.
    package static func decode(topic: [UInt8], payload: [UInt8]) throws(WorkerProtocolError) -> PeerMessage {
        guard topic == brokerTopic else {
            let document: Document
            do throws(DocumentError) { document = try Document.parse(payload: payload) } catch { throw .document(error) }
            guard let event = TaskEvent(document.root), Array(event.topic.utf8) == topic else { throw .notAMessage }
            return .event(event, json: payload)
        }
        return try payload.withUnsafeBytes { buffer in
            Result { () throws(WorkerProtocolError) in
                let fields = try FieldReader(messageIn: buffer)
                switch fields.message {
                case "status": return .status(try PeerStatus(fields))
                case "wake": return .wake(try fields.id("broker"))
                default: throw .unknownMessage(fields.message)
                }
            }
        }.get()
    }

    /// The payload under ``brokerTopic``, or the event's JSON.
    package var payload: [UInt8] {
        switch self {
        case .event(_, let json): return json
        case .wake(let broker): return protocolMessage("wake", 1) { $0.member("broker", broker) }
        case .status(let status):
            return protocolMessage("status", 5) {
                $0.member("broker", status.broker)
                $0.member("beats_ok", status.beatsOK)
                $0.member("draining", status.isDraining)
                $0.member("workers", status.workersEndpoint)
                $0.member("public_key", status.publicKey)
            }
        }
    }
}

/// How a broker is, as it tells its peers.
package struct PeerStatus: Sendable, Equatable {
    package var broker: BrokerID
    /// The database acknowledged its last beats: workers may go there.
    package var beatsOK: Bool
    package var isDraining: Bool
    /// Where workers reach it.
    package var workersEndpoint: String
    /// Its CURVE public key.
    package var publicKey: String?

    package init(broker: BrokerID, beatsOK: Bool, isDraining: Bool, workersEndpoint: String, publicKey: String?) {
        self.broker = broker
        self.beatsOK = beatsOK
        self.isDraining = isDraining
        self.workersEndpoint = workersEndpoint
        self.publicKey = publicKey
    }

    init(_ fields: FieldReader) throws(WorkerProtocolError) {
        self.init(
            broker: try fields.id("broker"), beatsOK: try fields.bool("beats_ok"), isDraining: try fields.bool("draining"),
            workersEndpoint: try fields.string("workers"), publicKey: try fields.optionalString("public_key"))
    }
}
