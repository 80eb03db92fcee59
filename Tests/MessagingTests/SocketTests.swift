import Messaging
import Synchronization
import Testing

@Suite struct SocketTests {
    /// Waits until a message comes, at most ten seconds.
    private func next(_ socket: borrowing Socket) throws -> Multipart? {
        var poller = Poller()
        let index = poller.add(socket)
        for _ in 0..<10 {
            try poller.wait(milliseconds: 1_000)
            if poller.isReadable(index) { return try socket.receive() }
        }
        return nil
    }

    @Test("a request comes to a router with its sender's name and the reply goes back")
    func roundTrip() throws {
        let context = try ZMQContext()
        let router = try Socket(context, .router)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        #expect(endpoint.hasPrefix("tcp://127.0.0.1:"))
        #expect(!endpoint.hasSuffix("*"))
        let dealer = try Socket(context, .dealer)
        try dealer.connect(endpoint)
        #expect(try dealer.send([[1, 2, 3], [], [4]]) == .sent)
        let received = try next(router)
        #expect(received?.frames.count == 4)
        #expect(received?.frames.dropFirst().map { $0 } == [[1, 2, 3], [], [4]])
        #expect(received?.isTruncated == false)
        #expect(try router.send([received?.frames[0] ?? [], [9]]) == .sent)
        #expect(try next(dealer)?.frames == [[9]])
    }

    @Test("nothing waiting is nil, and an unknown peer is unreachable")
    func emptyAndUnreachable() throws {
        let context = try ZMQContext()
        let router = try Socket(context, .router)
        try router.bind("tcp://127.0.0.1:*")
        #expect(try router.receive() == nil)
        #expect(try router.send([[7, 7], [1]]) == .unreachable)
    }

    @Test("a message of too many frames is cut, and the next one is whole")
    func truncation() throws {
        let context = try ZMQContext()
        let router = try Socket(context, .router)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        let dealer = try Socket(context, .dealer)
        try dealer.connect(endpoint)
        #expect(try dealer.send([[UInt8]](repeating: [1], count: 500)) == .sent)
        #expect(try dealer.send([[2]]) == .sent)
        let first = try next(router)
        #expect(first?.isTruncated == true)
        #expect(first?.frames.count == 64)
        #expect(try next(router)?.frames.last == [2])
    }

    @Test("a frame over the limit closes the connection and the socket serves others")
    func oversized() throws {
        let context = try ZMQContext()
        let router = try Socket(context, .router)
        let endpoint = try router.bind("tcp://127.0.0.1:*")
        var options = SocketOptions()
        options.maximumMessageBytes = -1
        let rude = try Socket(context, .dealer, options)
        try rude.connect(endpoint)
        #expect(try rude.send([[UInt8](repeating: 0, count: 100 << 20)]) == .sent)
        let polite = try Socket(context, .dealer)
        try polite.connect(endpoint)
        #expect(try polite.send([[5]]) == .sent)
        #expect(try next(router)?.frames.last == [5])
    }

    @Test("a topic reaches only who subscribed to it")
    func publishing() throws {
        let context = try ZMQContext()
        let publisher = try Socket(context, .extendedPublisher)
        let endpoint = try publisher.bind("tcp://127.0.0.1:*")
        let subscriber = try Socket(context, .subscriber)
        try subscriber.connect(endpoint)
        try subscriber.subscribe(Array("task.1".utf8))
        // XPUB hands the subscription over as a message: waiting for it is waiting for the link.
        #expect(try next(publisher)?.frames == [[1] + Array("task.1".utf8)])
        #expect(try publisher.send([Array("task.2".utf8), [2]]) == .sent)
        #expect(try publisher.send([Array("task.1".utf8), [1]]) == .sent)
        #expect(try next(subscriber)?.frames == [Array("task.1".utf8), [1]])
    }

    @Test("an endpoint that is taken or malformed is an error that names it")
    func bindErrors() throws {
        let context = try ZMQContext()
        let first = try Socket(context, .router)
        let endpoint = try first.bind("tcp://127.0.0.1:*")
        let second = try Socket(context, .router)
        #expect(throws: MessagingError.self) { _ = try second.bind(endpoint) }
        do { _ = try second.bind("nonsense") } catch { #expect(error.description.contains("nonsense")) }
        #expect(throws: MessagingError.self) { try second.connect("tcp://") }
    }

    @Test("a wake-up from another thread ends a wait, once")
    func wakeup() throws {
        let wakeup = try Wakeup()
        var poller = Poller()
        let index = poller.add(wakeup)
        let thread = try ServiceThread(name: "test") { wakeup.signal() }
        try poller.wait(milliseconds: 10_000)
        let isSeen = poller.isReadable(index)
        #expect(isSeen)
        wakeup.drain()
        thread.join()
        wakeup.drain()
        let still = try poller.wait(milliseconds: 0)
        #expect(still == 0)
    }
}
