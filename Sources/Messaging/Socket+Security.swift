internal import CZeroMQ
internal import Glibc
internal import Synchronization

/// CURVE on a socket that is being set up.
func apply(_ security: SocketSecurity, to handle: UnsafeMutableRawPointer) throws(MessagingError) {
    switch security {
    case .none: return
    case .server(let pair, let domain):
        try set(handle, ZMQ_CURVE_SERVER, 1, "ZMQ_CURVE_SERVER")
        try set(handle, ZMQ_CURVE_SECRETKEY, pair.secret, "ZMQ_CURVE_SECRETKEY")
        try set(handle, ZMQ_ZAP_DOMAIN, domain, "ZMQ_ZAP_DOMAIN")
        // Without this a server socket lets anybody in while no authenticator runs.
        try set(handle, zapEnforceDomain, 1, "ZMQ_ZAP_ENFORCE_DOMAIN")
    case .client(let pair, let server):
        try set(handle, ZMQ_CURVE_SERVERKEY, server.text, "ZMQ_CURVE_SERVERKEY")
        try set(handle, ZMQ_CURVE_PUBLICKEY, pair.publicKey.text, "ZMQ_CURVE_PUBLICKEY")
        try set(handle, ZMQ_CURVE_SECRETKEY, pair.secret, "ZMQ_CURVE_SECRETKEY")
    }
}

/// `ZMQ_ZAP_ENFORCE_DOMAIN` of zmq.h: the library knows it, its header shows it only to those who build with drafts.
private let zapEnforceDomain: Int32 = 93

/// Keys in Z85 count their closing zero; libzmq reads the domain as so many bytes.
private func set(_ handle: UnsafeMutableRawPointer, _ option: Int32, _ value: String, _ name: String) throws(MessagingError) {
    let count = value.utf8.count + (option == ZMQ_ZAP_DOMAIN ? 0 : 1)
    guard zmq_setsockopt(handle, option, value, count) == 0 else { throw .last(name) }
}

// MARK: Monitors

/// Begins to report a socket's handshakes.
/// - Returns: the end to read, where the socket's own thread is to read it.
func startMonitor(
    _ report: HandshakeReport, of handle: UnsafeMutableRawPointer, _ context: ZMQContext
) throws(MessagingError) -> UnsafeMutableRawPointer? {
    let failures = ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH
    switch report {
    case .nobody: return nil
    case .endpoint(let endpoint):
        // What the ZAP handler refuses it knows itself, with the key; what is cut is mostly a port scan or a probe.
        guard zmq_socket_monitor(handle, endpoint, ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL) == 0 else { throw .last("zmq_socket_monitor") }
        return nil
    case .owner:
        let endpoint = "inproc://handshakes-\(monitorCount.add(1, ordering: .relaxed).newValue)"
        let events = failures | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED
        guard zmq_socket_monitor(handle, endpoint, events) == 0 else { throw .last("zmq_socket_monitor") }
        guard let reader = zmq_socket(context.handle, ZMQ_PAIR) else { throw .last("zmq_socket") }
        guard zmq_connect(reader, endpoint) == 0 else {
            let error = MessagingError.last("zmq_connect")
            zmq_socket_monitor(handle, nil, 0)
            zmq_close(reader)
            throw error
        }
        return reader
    }
}

/// Names the monitors of a process apart.
private let monitorCount = Atomic<UInt64>(0)

/// One event of a monitor, or nil where none waits: two frames, of which the first has 16 bits of event and 32 of value, in the machine's order.
func receiveHandshake(_ monitor: UnsafeMutableRawPointer) throws(MessagingError) -> HandshakeEvent? {
    while true {
        var head: [UInt8] = []
        var part = zmq_msg_t()
        zmq_msg_init(&part)
        defer { zmq_msg_close(&part) }
        repeat {
            while zmq_msg_recv(&part, monitor, ZMQ_DONTWAIT) < 0 {
                let code = zmq_errno()
                if code == EAGAIN { return nil }
                if code != EINTR { throw .last("zmq_msg_recv") }
            }
            if head.isEmpty { head = [UInt8](UnsafeRawBufferPointer(start: zmq_msg_data(&part), count: zmq_msg_size(&part))) }
        } while zmq_msg_more(&part) != 0
        guard head.count == 6 else { continue }
        let event = head.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 0, as: UInt16.self) }
        let value = head.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: 2, as: UInt32.self) }
        if let news = HandshakeEvent(event: event, value: value) { return news }
    }
}

/// The reading end of sockets' monitors on another thread (``HandshakeReport/endpoint(_:)``). It may be made before the sockets that it watches,
/// and must outlive them.
struct HandshakeReader: ~Copyable {
    private let socket: Socket

    init(_ context: ZMQContext, endpoint: String) throws(MessagingError) {
        let made = try Socket(context, .pair)
        try made.connect(endpoint)
        socket = made
    }

    func add(to poller: inout Poller) -> Int { poller.add(socket) }

    func next() throws(MessagingError) -> HandshakeEvent? { try receiveHandshake(socket.handle) }
}
