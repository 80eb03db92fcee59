import FoundationEssentials
import Glibc
import Messaging
import Synchronization
import TestSupport
import Testing

/// The four doors of a broker, real sockets and real handshakes.
@Suite(.serialized, .timeLimit(.minutes(1))) struct CurveSocketTests {
    /// Who knocks, and with what.
    enum Visitor: CaseIterable, Sendable {
        case client, worker, broker, stranger, keyless, misled
    }

    private struct Door: Sendable {
        let domain: String
        let kind: SocketKind
        let visitorKind: SocketKind
        let friend: Visitor
    }

    private static let doors = [
        Door(domain: "tasks", kind: .router, visitorKind: .dealer, friend: .client),
        Door(domain: "events", kind: .extendedPublisher, visitorKind: .subscriber, friend: .client),
        Door(domain: "workers", kind: .router, visitorKind: .dealer, friend: .worker),
        Door(domain: "peers", kind: .extendedPublisher, visitorKind: .subscriber, friend: .broker),
    ]

    private let context: ZMQContext
    private let server: CurveKeyPair
    private let pairs: [Visitor: CurveKeyPair]
    private let folder: TemporaryDirectory
    private let notes = Notes()

    init() throws {
        context = try ZMQContext()
        server = try .generate()
        var pairs: [Visitor: CurveKeyPair] = [:]
        for visitor in Visitor.allCases { pairs[visitor] = try .generate() }
        self.pairs = pairs
        folder = try TemporaryDirectory()
    }

    private func access() throws -> AccessControl {
        func key(_ visitor: Visitor) throws -> CurvePublicKey { try #require(pairs[visitor]).publicKey }
        return try AccessControl([
            .init(domains: ["tasks", "events"], keys: [try key(.client), try key(.misled)]), .init(domains: ["workers"], keys: [try key(.worker)]),
            .init(domains: ["peers"], keys: [try key(.broker), server.publicKey]),
        ])
    }

    private func serverOptions(_ domain: String) -> SocketOptions {
        var options = SocketOptions()
        options.security = .server(server, domain: domain)
        options.handshakes = .endpoint(Authenticator.monitorEndpoint(of: domain))
        return options
    }

    private func visitorOptions(_ visitor: Visitor) throws -> SocketOptions {
        var options = SocketOptions()
        options.handshakes = .owner
        let pair = try #require(pairs[visitor])
        switch visitor {
        case .keyless: break
        case .misled: options.security = .client(pair, server: try CurveKeyPair.generate().publicKey)
        default: options.security = .client(pair, server: server.publicKey)
        }
        return options
    }

    /// Knocks, until the handshake has ended.
    private func knock(_ socket: borrowing Socket, _ options: SocketOptions) throws -> KeyRefusal? {
        var judge = HandshakeJudge(endpoint: "here", key: options.security.shownKey)
        var poller = Poller()
        let place = poller.addHandshakes(of: socket)
        #expect(place != nil)
        let begin = ContinuousClock.now
        while ContinuousClock.now - begin < .seconds(10) {
            try poller.wait(milliseconds: 200)
            while let event = try socket.nextHandshake() {
                if event == .succeeded { return nil }
                let time = Int64((ContinuousClock.now - begin) / .milliseconds(1))
                if let refusal = judge.take(event, now: time) { return refusal }
            }
        }
        Issue.record("no handshake ended within ten seconds")
        return nil
    }

    private func next(_ socket: borrowing Socket, namesUser: Bool = true) throws -> Multipart? {
        var poller = Poller()
        poller.add(socket)
        for _ in 0..<20 {
            if let message = try socket.receive(namesUser: namesUser) { return message }
            try poller.wait(milliseconds: 500)
        }
        return nil
    }

    @Test("at each door the right key is let in, and named; every other is refused and hears why", arguments: 0..<4)
    func doors(index: Int) throws {
        let door = Self.doors[index]
        let authenticator = try Authenticator(context, try access(), domains: Self.doors.map(\.domain)) { [notes] in notes.add($0) }
        defer { authenticator.stop() }
        let socket = try Socket(context, door.kind, serverOptions(door.domain))
        let endpoint = try socket.bind("tcp://127.0.0.1:*")
        for visitor in Visitor.allCases {
            let options = try visitorOptions(visitor)
            let knocking = try Socket(context, door.visitorKind, options)
            try knocking.connect(endpoint)
            // What is sent before the handshake must not come through either.
            if case .subscriber = door.visitorKind { try knocking.subscribe([1]) } else { _ = try knocking.send([[9]]) }
            let refusal = try knock(knocking, options)
            if visitor == door.friend {
                #expect(refusal == nil)
                let message = try next(socket)
                #expect(message?.frames.last == (door.domain == "tasks" || door.domain == "workers" ? [9] : [1, 1]))
                #expect(message?.user == pairs[visitor]?.publicKey.text)
                continue
            }
            let expected: KeyRefusal.Reason =
                switch visitor {
                case .keyless: .keysWanted
                case .misled: .wrongServerKey
                default: .notListed
                }
            #expect(refusal?.reason == expected, "\(visitor) at \(door.domain)")
        }
        // Nobody else's message came through; a subscriber that has left is told of.
        while let message = try socket.receive() { #expect(message.frames == [[0, 1]]) }
        try notes.wait("refusals of four kinds at \(door.domain)") { all in
            let refused = all.compactMap { if case .refused(_, "127.0.0.1", door.domain, let why, _) = $0 { why } else { nil } }
            let failed = all.compactMap { if case .handshakeFailed(door.domain, let why, _) = $0 { why } else { nil } }
            return refused.contains(.otherRole) && refused.contains(.unknownKey) && failed.contains(.otherMechanism)
                && failed.contains(.undecipherable)
        }
    }

    @Test("a peer's own pair opens the peers door, towards the key of the peer's row")
    func peerLink() throws {
        let authenticator = try Authenticator(context, try access(), domains: ["peers"]) { _ in }
        defer { authenticator.stop() }
        let peers = try Socket(context, .extendedPublisher, serverOptions("peers"))
        var options = SocketOptions()
        options.security = .client(server, server: server.publicKey)
        let link = try Socket(context, .subscriber, options)
        try link.connect(try peers.bind("tcp://127.0.0.1:*"))
        try link.subscribe([])
        #expect(try next(peers)?.user == server.publicKey.text)
        #expect(try peers.send([[5]]) == .sent)
        #expect(try next(link)?.frames == [[5]])
    }

    @Test("without an authenticator a server socket lets nobody in")
    func enforced() throws {
        let socket = try Socket(context, .router, serverOptions("tasks"))
        let options = try visitorOptions(.client)
        let knocking = try Socket(context, .dealer, options)
        try knocking.connect(try socket.bind("tcp://127.0.0.1:*"))
        #expect(try knocking.send([[9]]) == .sent)
        #expect(try knock(knocking, options)?.reason == .wrongServerKey)
        #expect(try socket.receive() == nil)
    }

    @Test("a key added to the file is let in, one that is taken away is shut out of its own connection, and a broken file changes nothing")
    func reread() throws {
        let path = folder.path + "/clients.keys"
        let key = try #require(pairs[.client]).publicKey
        func write(_ text: String) throws { try Data(text.utf8).write(to: URL(filePath: path)) }
        try write("# nobody yet\n")
        let access = try AccessControl([.init(domains: ["tasks"], files: [path])])
        let authenticator = try Authenticator(context, access, domains: ["tasks"]) { [notes] in notes.add($0) }
        defer { authenticator.stop() }
        let socket = try Socket(context, .router, serverOptions("tasks"))
        let endpoint = try socket.bind("tcp://127.0.0.1:*")
        let options = try visitorOptions(.client)
        let early = try Socket(context, .dealer, options)
        try early.connect(endpoint)
        #expect(try knock(early, options)?.reason == .notListed)

        try write("\(key.text) c\n")
        try notes.wait("the list to be taken") { $0.contains(.listTaken(path: path, keys: 1)) }
        let late = try Socket(context, .dealer, options)
        try late.connect(endpoint)
        #expect(try knock(late, options) == nil)
        var revoked = RevokedKeys(access)
        func isRevoked(_ user: String?, _ domain: String = "tasks") -> Bool { revoked.contains(user, in: domain) }
        #expect(!isRevoked(key.text))

        try write("\(key.text) c\nnonsense\n")
        try notes.wait("the fault to be told") { $0.contains { if case .listKept(.malformed(path, 2, _)) = $0 { true } else { false } } }
        #expect(access.policy.allowed["tasks"] == [key])
        #expect(unlink(path) == 0)
        try notes.wait("the missing file to be told") { $0.contains { if case .listKept(.unreadable(path, _)) = $0 { true } else { false } } }
        #expect(access.policy.allowed["tasks"] == [key] && !isRevoked(key.text))

        try write("")
        access.reload()
        try notes.wait("the empty list to be taken") { $0.contains(.listTaken(path: path, keys: 0)) }
        #expect(try late.send([[1]]) == .sent)
        let message = try #require(try next(socket))
        #expect(message.user == key.text && isRevoked(message.user))
        #expect(!isRevoked("another") && !isRevoked(message.user, "workers") && !isRevoked(nil))
        try write("\(key.text)\n")
        access.reload()
        try notes.wait("the key to be back") { $0.filter { $0 == .listTaken(path: path, keys: 1) }.count == 2 }
        #expect(!isRevoked(message.user))
    }

    @Test("a broker does not start with a list that it cannot read")
    func unreadable() {
        #expect(throws: KeyFileError.self) { try AccessControl.Rule(domains: ["tasks"], files: ["/no/such/list"]) }
        var revoked = RevokedKeys(nil)
        let all = revoked.all(in: "tasks")
        #expect(all.isEmpty)
    }
}

/// What an authenticator reported, with waiting that has a bound.
private final class Notes: Sendable {
    private let all = Mutex<[AccessNote]>([])

    func add(_ note: AccessNote) { all.withLock { $0.append(note) } }

    func wait(_ what: String, _ condition: ([AccessNote]) -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(10)
        while !condition(all.withLock { $0 }) {
            try #require(ContinuousClock.now < deadline, "waited in vain for \(what)")
            usleep(10_000)
        }
    }
}
