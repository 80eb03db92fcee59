import Encodings
import Messaging
import Synchronization

/// A socket that answers as a script says: what a broker would, or what a broken one would.
final class ScriptedBroker: Sendable {
    let endpoint: String
    private let seen = Mutex<[JSONValue]>([])
    private let stop = Atomic<Bool>(false)
    private let wakeup: Wakeup
    private let thread: Mutex<ServiceThread?> = Mutex(nil)

    /// Its own pair, and whom it lets in.
    struct Keys: Sendable {
        let pair: CurveKeyPair
        let access: AccessControl
    }

    /// - Parameters:
    ///   - restart: after so many requests its socket is closed and bound again at once, as by a broker that is quickly started anew.
    ///   - answer: the replies to the n-th request, `re` and `ok` only where they are not the request's and a success; none: silence.
    init(
        keys: Keys? = nil, restartAfter restart: Int? = nil, _ answer: @escaping @Sendable (_ request: JSONValue, _ number: Int) -> [JSONObject]
    ) throws {
        let wakeup = try Wakeup()
        self.wakeup = wakeup
        let bound = Mutex<String>("")
        let ready = try Wakeup()
        var waiter = Poller()
        waiter.add(ready)
        let box = Box()
        let made = try ServiceThread(name: "scripted") {
            guard let context = try? ZMQContext() else { return }
            let authenticator = keys.flatMap { try? Authenticator(context, $0.access, domains: []) { _ in } }
            defer { authenticator?.stop() }
            var options = SocketOptions()
            if let keys { options.security = .server(keys.pair, domain: "tasks") }
            // What was answered before a restart still goes out.
            options.lingerMilliseconds = 10_000
            var restart = restart
            var address = "tcp://127.0.0.1:*"
            lives: while true {
                guard let socket = try? Socket(context, .router, options) else { return }
                // The port of an earlier life is free a moment after that was closed.
                while true {
                    if let made = try? socket.bind(address) {
                        address = made
                        break
                    }
                    guard bound.withLock({ !$0.isEmpty }), box.owner != nil else { break lives }
                }
                bound.withLock { $0 = address }
                ready.signal()
                var poller = Poller()
                poller.add(wakeup)
                poller.add(socket)
                while true {
                    _ = try? poller.wait(milliseconds: -1)
                    guard let owner = box.owner, !owner.stop.load(ordering: .acquiring) else { return }
                    // Nothing is taken after the last request before a restart.
                    while restart.map({ owner.requests.count < $0 }) ?? true, let message = try? socket.receive() {
                        owner.reply(message, socket, answer)
                    }
                    guard let count = restart, owner.requests.count >= count else { continue }
                    restart = nil
                    continue lives
                }
            }
            ready.signal()
        }
        _ = try waiter.wait(milliseconds: 10_000)
        endpoint = bound.withLock { $0 }
        thread.withLock { $0 = made }
        box.set(self)
    }

    deinit {
        stop.store(true, ordering: .releasing)
        wakeup.signal()
    }

    private func reply(_ message: Multipart, _ socket: borrowing Socket, _ answer: (JSONValue, Int) -> [JSONObject]) {
        guard message.frames.count == 2, let request = try? JSONValue.parse(message.frames[1]) else { return }
        let number = seen.withLock {
            $0.append(request)
            return $0.count
        }
        for var body in answer(request, number) {
            if body["re"] == nil { body["re"] = request["id"] }
            if body["ok"] == nil { body["ok"] = true }
            _ = try? socket.send([message.frames[0], JSONValue.object(body).serialised])
        }
    }

    /// The ops of all requests so far, pings of a worried client left out.
    var ops: [String] { seen.withLock { $0.filter { $0["id"] != 0 }.compactMap { $0["op"]?.stringValue } } }
    var requests: [JSONValue] { seen.withLock { $0 } }
}

/// Lets the thread find its owner without keeping it alive.
private final class Box: Sendable {
    private let reference = Mutex<Reference>(Reference())
    private struct Reference: Sendable { weak var owner: ScriptedBroker? }
    var owner: ScriptedBroker? { reference.withLock { $0.owner } }
    func set(_ owner: ScriptedBroker) { reference.withLock { $0.owner = owner } }
}

/// An endpoint at which nobody listens (a port of the reserved range).
let deadEndpoint = "tcp://127.0.0.1:1"
