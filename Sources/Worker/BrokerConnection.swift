import ArtifactStore
import Glibc
import Messaging
import TaskProtocol

/// A DEALER of its own to the broker that the worker's reactor is joined to, for artifacts alone. It follows the reactor to the next broker.
///
/// Made, used and closed by one thread.
final class BrokerConnection: ArtifactTransport {
    /// One socket, to one broker.
    private struct Line: ~Copyable {
        let socket: Socket
        var poller: Poller
        let link: LinkID

        init(_ context: ZMQContext, _ broker: WorkerShared.Broker) throws(MessagingError) {
            var options = SocketOptions()
            options.sendHighWater = 16
            options.receiveHighWater = 16
            options.security = broker.security
            let socket = try Socket(context, .dealer, options)
            try socket.connect(broker.endpoint)
            var poller = Poller()
            poller.add(socket)
            self.poller = poller
            self.socket = socket
            link = broker.link
        }

        mutating func receive(milliseconds: Int) throws(MessagingError) -> [UInt8]? {
            if let message = try socket.receive() { return Array(message.frames.joined()) }
            try poller.wait(milliseconds: milliseconds)
            return try socket.receive().map { Array($0.frames.joined()) }
        }
    }

    private let context: ZMQContext
    private let shared: WorkerShared
    private var line: Line?
    private var link: LinkID?
    private var unanswered: Set<Int64> = []
    private var isLost = false
    private var heardAt: Milliseconds = 0
    /// A broker that owes answers and says nothing for so long has lost them.
    private static let patience: Milliseconds = 10_000
    /// Between two looks whether the worker has joined a broker.
    private static let pause: UInt32 = 20_000

    init(context: ZMQContext, shared: WorkerShared) {
        self.context = context
        self.shared = shared
    }

    func send(_ operation: ArtifactOperation, number: Int64) throws(TransferError) {
        if unanswered.isEmpty { heardAt = MonotonicClock.milliseconds }
        unanswered.insert(number)
        let frame = WorkerMessage.artifact(number: number, operation).encoded
        let outcome = try messaging { () throws(MessagingError) in try line?.socket.send([frame]) }
        if outcome != .sent { isLost = true }
    }

    func next(milliseconds: Int) throws(TransferError) -> TransportEvent {
        guard let broker = shared.broker else {
            close()
            usleep(min(Self.pause, UInt32(clamping: milliseconds) * 1000))
            return .nothing
        }
        let now = MonotonicClock.milliseconds
        if isLost || broker.link != link || (!unanswered.isEmpty && now - heardAt >= Self.patience) {
            close()
            try messaging { () throws(MessagingError) in line = try Line(context, broker) }
            link = broker.link
            isLost = false
            return .lost
        }
        guard let bytes = try messaging({ () throws(MessagingError) in try line?.receive(milliseconds: milliseconds) }) else { return .nothing }
        guard case .artifact(let number, let answer)? = try? BrokerMessage.decode(bytes) else { return .nothing }
        heardAt = MonotonicClock.milliseconds
        unanswered.remove(number)
        return .answer(number: number, answer)
    }

    private func close() {
        line = nil
        link = nil
        unanswered = []
    }

    private func messaging<Value>(_ body: () throws(MessagingError) -> Value) throws(TransferError) -> Value {
        do throws(MessagingError) { return try body() } catch { throw .connection(error.description) }
    }
}
