import Messaging
import TaskProtocol

/// What could not be sent yet over the current link, bounded: a full socket drops what only watchers miss, and reports repeat themselves.
struct OutgoingQueue {
    private var waiting: [[[UInt8]]] = []
    private static let mostOfEvents = 500
    private static let most = 5000

    /// Whether something waits for room in the socket.
    var isEmpty: Bool { waiting.isEmpty }

    /// Another link: nothing said over the old one concerns it.
    mutating func clear() { waiting = [] }

    /// Sends a message, or keeps it until the socket has room.
    mutating func send(_ message: WorkerMessage, over socket: borrowing Socket) throws(MessagingError) {
        let limit = message.isOnlyForWatchers ? Self.mostOfEvents : Self.most
        guard waiting.count < limit else { return }
        waiting.append(Self.frames(of: message.encoded))
        try flush(over: socket)
    }

    /// Sends what waits, as far as the socket takes it.
    mutating func flush(over socket: borrowing Socket) throws(MessagingError) {
        var sent = 0
        while sent < waiting.count, try socket.send(waiting[sent]) == .sent { sent += 1 }
        waiting.removeFirst(sent)
    }

    /// A message in frames of at most ``WorkerProtocol/maximumFrameBytes``.
    static func frames(of bytes: [UInt8]) -> [[UInt8]] {
        let limit = WorkerProtocol.maximumFrameBytes
        guard bytes.count > limit else { return [bytes] }
        return stride(from: 0, to: bytes.count, by: limit).map { Array(bytes[$0..<min($0 + limit, bytes.count)]) }
    }
}

extension WorkerMessage {
    fileprivate var isOnlyForWatchers: Bool { if case .event = self { true } else { false } }
}
