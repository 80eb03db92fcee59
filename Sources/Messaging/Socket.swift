internal import CZeroMQ
internal import Glibc

let scriptoriumEINTR = EINTR

/// One ZeroMQ socket, owned by the thread that made it.
///
/// A socket is not thread-safe and cannot be copied; it is made, used and closed inside one thread's function (debug builds check the thread).
/// No call blocks: waiting is ``Poller``'s.
///
///     let context = try ZMQContext()
///     let socket = try Socket(context, .router)
///     let endpoint = try socket.bind("tcp://127.0.0.1:*")
///     while let message = try socket.receive() { … }
package struct Socket: ~Copyable {
    let handle: UnsafeMutableRawPointer
    /// The end of the monitor that this thread reads, where handshakes are reported to it.
    let monitor: UnsafeMutableRawPointer?
    private let isMonitored: Bool
    /// Whether `User-Id` is an authenticator's word. Without keys a peer may write there what it likes.
    private let provesUsers: Bool
    private let context: ZMQContext
    #if DEBUG
        private let owner = pthread_self()
    #endif

    package init(_ context: ZMQContext, _ kind: SocketKind, _ options: SocketOptions = SocketOptions()) throws(MessagingError) {
        (handle, monitor) = try openSocket(context, kind, options)
        isMonitored = if case .nobody = options.handshakes { false } else { true }
        provesUsers = if case .server = options.security { true } else { false }
        self.context = context
    }

    deinit {
        checkThread()
        // In this order: a monitor whose reader has gone would hold up the I/O thread at its next event.
        if isMonitored { zmq_socket_monitor(handle, nil, 0) }
        if let monitor { zmq_close(monitor) }
        zmq_close(handle)
    }

    // MARK: Endpoints

    /// Listens at an endpoint; `tcp://127.0.0.1:*` lets the system choose the port.
    /// - Returns: the endpoint as it really is.
    @discardableResult
    package borrowing func bind(_ endpoint: String) throws(MessagingError) -> String {
        checkThread()
        guard zmq_bind(handle, endpoint) == 0 else { throw .bindFailed(endpoint: endpoint, reason: MessagingError.reason()) }
        return try lastEndpoint()
    }

    /// Connects in the background, again and again until it succeeds.
    package borrowing func connect(_ endpoint: String) throws(MessagingError) {
        checkThread()
        guard zmq_connect(handle, endpoint) == 0 else { throw .connectFailed(endpoint: endpoint, reason: MessagingError.reason()) }
    }

    /// Ends a connection made by ``connect(_:)``; unknown ones are ignored.
    package borrowing func disconnect(_ endpoint: String) {
        checkThread()
        zmq_disconnect(handle, endpoint)
    }

    /// SUB: takes messages whose first frame begins with these bytes.
    package borrowing func subscribe(_ prefix: [UInt8]) throws(MessagingError) { try set(ZMQ_SUBSCRIBE, prefix, "subscribe") }

    /// SUB: the opposite of ``subscribe(_:)``.
    package borrowing func unsubscribe(_ prefix: [UInt8]) throws(MessagingError) { try set(ZMQ_UNSUBSCRIBE, prefix, "unsubscribe") }

    // MARK: Messages

    /// The next message, or nil where none waits.
    /// - Parameters:
    ///   - maximumFrames: further frames are read and dropped.
    ///   - maximumBytes: of all frames together; the frame that passes it and what follows are dropped.
    ///   - namesUser: whether to look up the sender's public key, on a socket of ``SocketSecurity/server(_:domain:)``.
    package borrowing func receive(
        maximumFrames: Int = 64, maximumBytes: Int = 128 << 20, namesUser: Bool = false
    ) throws(MessagingError) -> Multipart? {
        checkThread()
        var message = Multipart([])
        var total = 0
        var part = zmq_msg_t()
        zmq_msg_init(&part)
        defer { zmq_msg_close(&part) }
        repeat {
            while zmq_msg_recv(&part, handle, ZMQ_DONTWAIT) < 0 {
                let code = zmq_errno()
                if code == EAGAIN && message.frames.isEmpty && !message.isTruncated { return nil }
                if code != EINTR { throw .last("zmq_msg_recv") }
            }
            let count = zmq_msg_size(&part)
            total += count
            if message.frames.count < maximumFrames && total <= maximumBytes {
                message.frames.append([UInt8](UnsafeRawBufferPointer(start: zmq_msg_data(&part), count: count)))
            } else {
                message.isTruncated = true
            }
            if namesUser, provesUsers, message.user == nil, let user = zmq_msg_gets(&part, "User-Id") { message.user = String(cString: user) }
        } while zmq_msg_more(&part) != 0
        return message
    }

    /// Sends a message of one or more frames without blocking.
    package borrowing func send(_ frames: [[UInt8]]) throws(MessagingError) -> SendOutcome {
        checkThread()
        for (index, frame) in frames.enumerated() {
            let flags = index + 1 < frames.count ? ZMQ_DONTWAIT | ZMQ_SNDMORE : ZMQ_DONTWAIT
            while zmq_send(handle, frame, frame.count, flags) < 0 {
                switch zmq_errno() {
                case EINTR: continue
                case EAGAIN: return .wouldBlock
                case EHOSTUNREACH: return .unreachable
                default: throw .last("zmq_send")
                }
            }
        }
        return .sent
    }

    // MARK: Handshakes

    /// How the next handshake of one of this socket's connections ended, or that one of them has; nil where there is no news, or ``SocketOptions/handshakes`` names
    /// another reader.
    package borrowing func nextHandshake() throws(MessagingError) -> HandshakeEvent? {
        checkThread()
        guard let monitor else { return nil }
        return try receiveHandshake(monitor)
    }

    // MARK: Inside

    private func lastEndpoint() throws(MessagingError) -> String {
        var bytes = [UInt8](repeating: 0, count: 256)
        var count = bytes.count
        guard zmq_getsockopt(handle, ZMQ_LAST_ENDPOINT, &bytes, &count) == 0 else { throw .last("ZMQ_LAST_ENDPOINT") }
        return String(decoding: bytes[..<max(0, count - 1)], as: UTF8.self)
    }

    private func set(_ option: Int32, _ value: [UInt8], _ name: String) throws(MessagingError) {
        checkThread()
        guard zmq_setsockopt(handle, option, value, value.count) == 0 else { throw .last(name) }
    }

    private func checkThread() {
        #if DEBUG
            precondition(pthread_equal(owner, pthread_self()) != 0, "a socket is used on the thread that made it")
        #endif
    }
}

/// A socket with its options set, closed again where one of them is refused.
private func openSocket(
    _ context: ZMQContext, _ kind: SocketKind, _ options: SocketOptions
) throws(MessagingError) -> (socket: UnsafeMutableRawPointer, monitor: UnsafeMutableRawPointer?) {
    guard let made = zmq_socket(context.handle, kind.raw) else { throw .last("zmq_socket") }
    do {
        try apply(options, kind, to: made)
        return (made, try startMonitor(options.handshakes, of: made, context))
    } catch {
        zmq_close(made)
        throw error
    }
}

private func apply(_ options: SocketOptions, _ kind: SocketKind, to handle: UnsafeMutableRawPointer) throws(MessagingError) {
    try set(handle, ZMQ_SNDHWM, options.sendHighWater, "ZMQ_SNDHWM")
    try set(handle, ZMQ_RCVHWM, options.receiveHighWater, "ZMQ_RCVHWM")
    try set(handle, ZMQ_LINGER, options.lingerMilliseconds, "ZMQ_LINGER")
    try set(handle, ZMQ_IPV6, 0, "ZMQ_IPV6")
    try set(handle, ZMQ_RECONNECT_IVL, options.reconnectMilliseconds.first, "ZMQ_RECONNECT_IVL")
    try set(handle, ZMQ_RECONNECT_IVL_MAX, options.reconnectMilliseconds.longest, "ZMQ_RECONNECT_IVL_MAX")
    var limit = options.maximumMessageBytes
    guard zmq_setsockopt(handle, ZMQ_MAXMSGSIZE, &limit, MemoryLayout<Int64>.size) == 0 else { throw .last("ZMQ_MAXMSGSIZE") }
    if case .router = kind { try set(handle, ZMQ_ROUTER_MANDATORY, options.isMandatory ? 1 : 0, "ZMQ_ROUTER_MANDATORY") }
    if options.sendsOnlyWhenConnected { try set(handle, ZMQ_IMMEDIATE, 1, "ZMQ_IMMEDIATE") }
    if let seconds = options.keepaliveSeconds {
        try set(handle, ZMQ_TCP_KEEPALIVE, 1, "ZMQ_TCP_KEEPALIVE")
        try set(handle, ZMQ_TCP_KEEPALIVE_IDLE, seconds, "ZMQ_TCP_KEEPALIVE_IDLE")
    }
    try apply(options.security, to: handle)
}

func set(_ handle: UnsafeMutableRawPointer, _ option: Int32, _ value: Int, _ name: String) throws(MessagingError) {
    var raw = Int32(clamping: value)
    guard zmq_setsockopt(handle, option, &raw, MemoryLayout<Int32>.size) == 0 else { throw .last(name) }
}

extension SocketKind {
    var raw: Int32 {
        switch self {
        case .router: ZMQ_ROUTER
        case .dealer: ZMQ_DEALER
        case .publisher: ZMQ_PUB
        case .subscriber: ZMQ_SUB
        case .extendedPublisher: ZMQ_XPUB
        case .pair: ZMQ_PAIR
        case .request: ZMQ_REQ
        case .reply: ZMQ_REP
        }
    }
}
