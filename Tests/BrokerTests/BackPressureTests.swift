import Broker
import Encodings
import QueueSimulation
import TaskProtocol
import Testing

/// Where there is too much of something: what is refused, what goes on, and what makes room again.
@Suite struct BackPressureTests {
    private static let models = #""op":"models""#
    private static let ping = #""op":"ping""#
    private static let submit = #""op":"submit","task":{"kind":"generate","params":{"model":"demo"}}"#

    private func code(_ reply: Node?) -> String? { reply?["error"]?["code"]?.stringValue }
    private func isOK(_ reply: Node?) -> Bool { reply?["ok"]?.boolValue == true }

    private func bench(_ change: (inout BrokerSettings) -> Void) -> CoreBench {
        var settings = BrokerSettings()
        change(&settings)
        return CoreBench(settings: settings)
    }

    @Test("over the bound of requests in flight submits are busy, whoever sends them; pings and reads go on, and each answer makes room")
    func requestsInFlight() {
        var bench = bench { $0.requestsInFlight = 2 }
        bench.holds = true
        for _ in 0..<2 { #expect(bench.submit() == nil) }
        #expect(code(bench.ask(Self.submit, from: 8)) == "busy")
        let (ticket, request) = bench.held.removeFirst()
        bench.answer(ticket, request)
        #expect(bench.ask(Self.submit, from: 8) == nil)
        #expect(code(bench.submit()) == "busy")
        #expect(isOK(bench.ask(Self.ping)))
        #expect(bench.ask(Self.models) == nil)
        bench.release()
        #expect(bench.replies.count { code($0) == "busy" } == 2 && bench.replies.count { isOK($0) } == 5)
        #expect(bench.store.tasks.count == 3 && bench.core.snapshot.requestsInFlight == 0)
    }

    @Test("reads are busy over twice that bound and the one of waits together, and then nothing is answered but ping")
    func reads() {
        var bench = bench { ($0.requestsInFlight, $0.watchers) = (1, 1) }
        bench.holds = true
        for _ in 0..<3 { #expect(bench.ask(Self.models) == nil) }
        #expect(code(bench.ask(Self.models, from: 8)) == "busy")
        #expect(code(bench.submit()) == "busy")
        #expect(isOK(bench.ask(Self.ping)))
        bench.release()
        #expect(isOK(bench.ask(Self.models, from: 8)) && isOK(bench.submit()))
        #expect(bench.core.snapshot.requestsInFlight == 0)
    }

    /// How submits end.
    enum End: CaseIterable { case stored, refused, heldKey, failed, away }

    /// Answers all that was asked of the store, so that submits end in that way, and lets the broker find the store in order again.
    private func answer(_ bench: inout CoreBench, _ end: End) {
        while !bench.held.isEmpty {
            let (ticket, request) = bench.held.removeFirst()
            switch (end, request) {
            case (.failed, .submit): bench.feed(.storeReply(ticket: ticket, .failed(.internalError("drawn"))))
            case (.away, .submit): bench.feed(.storeReply(ticket: ticket, .failed(.unreached("cut"))))
            default: bench.answer(ticket, request)
            }
        }
        bench.holds = false
        bench.pass(2_000)
    }

    @Test(
        "over the bound of bytes to be stored submits are busy and all else goes on; however submits end, there is room again",
        arguments: End.allCases)
    func submitBytes(end: End) {
        var bench = bench { $0.submitBytes = 100 }
        bench.store.heldKeys = ["k"]
        let task = #"{"kind":"generate","params":{"model":"\#(end == .refused ? "nobody" : "demo")"}\#(end == .heldKey ? #","key":"k""# : "")}"#
        for round in 1...2 {
            bench.holds = true
            // Each has fewer bytes than the bound, two have more.
            for _ in 0..<2 { #expect(bench.ask(#""op":"submit","task":\#(task)"#) == nil) }
            #expect(code(bench.ask(Self.submit, from: 8)) == "busy")
            #expect(isOK(bench.ask(Self.ping)))
            #expect(bench.ask(Self.models) == nil)
            answer(&bench, end)
            #expect(bench.core.snapshot.requestsInFlight == 0)
            #expect(bench.store.tasks.count == (end == .stored ? 2 * round : 0))
        }
    }

    @Test("over the bound of waits and watches more of them are busy and all else goes on; each that ends makes room")
    func watchers() throws {
        var bench = bench { $0.watchers = 2 }
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        let (watch, wait) = (#""op":"watch","task":"\#(grant.task)""#, #""op":"wait","task":"\#(grant.task)""#)
        let number = try #require(bench.ask(watch)?["re"]?.integerValue)
        #expect(bench.ask(wait) == nil)
        #expect(code(bench.ask(watch, from: 8)) == "busy" && code(bench.ask(wait, from: 8)) == "busy")
        #expect(isOK(bench.ask(#""op":"get","ids":["\#(grant.task)"]"#, from: 8)) && isOK(bench.ask(Self.submit, from: 8)))
        #expect(isOK(bench.ask(Self.ping)))
        #expect(isOK(bench.ask(#""op":"unwatch","watch":\#(number)"#)))
        #expect(isOK(bench.ask(watch, from: 8)))
        #expect(code(bench.ask(wait, from: 8)) == "busy")
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        #expect(bench.core.snapshot.waitsAndWatches == 0 && bench.core.snapshot.requestsInFlight == 0)
        #expect(bench.ask(wait, from: 8)?["task"]?["state"]?.stringValue == "succeeded")
    }

    @Test("a client that takes nothing loses its watches and nothing else: its get and wait are answered, and others watch on")
    func lostClient() throws {
        var bench = CoreBench()
        bench.joinWorker()
        bench.submit()
        let grant = try #require(bench.grants.first)
        let watch = #""op":"watch","task":"\#(grant.task)""#
        bench.ask(watch)
        let other = try #require(bench.ask(watch, from: 8)?["re"]?.integerValue)
        bench.ask(#""op":"wait","task":"\#(grant.task)""#)
        let get = #""op":"get","ids":["\#(grant.task)"]"#
        bench.holds = true
        bench.ask(get)
        bench.replies = []
        bench.feed(.clientLost([9]))
        #expect(bench.core.snapshot.waitsAndWatches == 2)
        bench.release()
        bench.feed(.workerMessage(from: [7], .started(grant.held)))
        bench.feed(.workerMessage(from: [7], .complete(grant.held, generations: [], result: nil, checkpoint: nil)))
        let events = bench.replies.filter { $0["event"] != nil }
        #expect(events.compactMap { $0["event"]?["event"]?.stringValue } == ["started", "succeeded"])
        #expect(events.allSatisfy { $0["re"]?.integerValue == other })
        let rest = bench.replies.filter { $0["event"] == nil }
        #expect(rest.count == 2 && rest.first?["tasks"] != nil && rest.last?["task"]?["state"]?.stringValue == "succeeded")
        #expect(isOK(bench.ask(get)))
        #expect(bench.core.snapshot.waitsAndWatches == 0 && bench.core.snapshot.requestsInFlight == 0)
    }
}
