import TaskProtocol
import Testing
import Worker

@Suite struct JoiningTests {
    @Test("a worker connects, registers, and beats each second once it is welcome")
    func joins() throws {
        var bench = CoreBench(brokers: ["tcp://a"])
        bench.handle(.tick)
        #expect(bench.actions.first == .connect(bench.link, endpoint: "tcp://a"))
        #expect(bench.sent().map(\.isRegister) == [true])
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        #expect(bench.core.snapshot.joined)
        bench.pass(5000)
        let beats = bench.sent().filter(\.isHeartbeat).count
        #expect((5...6).contains(beats))
    }

    @Test("a silent broker is left after two seconds, and the next one gets the same session and leases")
    func leavesSilence() throws {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.say(.grant(CoreBench.grant(1)))
        bench.actions = []
        bench.pass(1900, beating: false)
        #expect(!bench.actions.contains(.disconnect(first)))
        bench.pass(200, beating: false)
        #expect(bench.actions.contains(.disconnect(first)))
        #expect(bench.link != first)
        guard case .register(let registration)? = bench.sent().last(where: \.isRegister) else {
            Issue.record("no registration")
            return
        }
        #expect(registration.session == CoreBench.session)
        #expect(registration.leases == [CoreBench.grant(1).held])
        #expect(registration.epoch == Int(bench.link.number) && bench.link > first)
    }

    @Test("what a left broker still grants is ignored")
    func ignoresLeft() {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.pass(2500, beating: false)
        bench.actions = []
        bench.handle(.message(.grant(CoreBench.grant(1)), link: first))
        #expect(bench.started.isEmpty && bench.core.leases.isEmpty)
    }

    @Test("brokers that never answer are tried in turn, with pauses that grow")
    func backsOff() {
        var bench = CoreBench(brokers: ["tcp://a", "tcp://b"])
        bench.handle(.tick)
        bench.pass(60_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(Set(tried) == ["tcp://a", "tcp://b"])
        #expect(zip(tried, tried.dropFirst()).allSatisfy { $0 != $1 })
        #expect((14...28).contains(tried.count))
    }

    @Test("a broker that says leave is left for its peer, known or not")
    func movesOn() {
        var bench = CoreBench.joined()
        let first = bench.link
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c", publicKey: "k")]))
        let peers = [BrokerAddress(endpoint: "tcp://c", publicKey: "k")]
        #expect(bench.actions.prefix(3) == [.learnKeys(of: peers), .disconnect(first), .connect(bench.link, endpoint: "tcp://c")])
    }

    @Test("brokers that a welcome names are gone to where all of the operator's are silent, and after these in every round")
    func learnsAtWelcome() {
        var bench = CoreBench.joined()
        let first = bench.link
        let peers = [BrokerAddress(endpoint: "tcp://c", publicKey: "k"), BrokerAddress(endpoint: "tcp://d")]
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000, peers: peers))
        #expect(bench.actions.contains(.learnKeys(of: peers)) && bench.link == first, "it stays where it is")
        bench.actions = []
        bench.pass(60_000, beating: false)
        var tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        // It was at one of both; from the next round on all four come in turn.
        #expect(["tcp://a", "tcp://b"].contains(tried.removeFirst()))
        #expect(tried.prefix(2) == ["tcp://c", "tcp://d"])
        let rounds = tried.dropFirst(2)
        #expect(rounds.count > 12)
        for start in stride(from: rounds.startIndex, to: rounds.endIndex - 3, by: 4) {
            #expect(Set(rounds[start..<start + 2]) == ["tcp://a", "tcp://b"] && rounds[start + 2..<start + 4] == ["tcp://c", "tcp://d"])
        }
    }

    @Test("those that the last welcome names are tried before those of earlier ones, which may have gone for good")
    func learnsAnew() {
        var bench = CoreBench.joined()
        for endpoint in ["tcp://c", "tcp://d"] {
            bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000, peers: [BrokerAddress(endpoint: endpoint)]))
        }
        // An older broker, or one that has heard of nobody yet, names none.
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.pass(60_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(tried.dropFirst().prefix(2) == ["tcp://d", "tcp://c"], "behind the operator's other one")
    }

    @Test("the list of brokers is bounded, whatever they name, and keeps those of the operator and the one that it is at")
    func boundedList() {
        let own = (0..<70).map { "tcp://own\($0)" }
        for given in [own, ["tcp://a"]] {
            var link = BrokerLink(endpoints: given, startingAt: 0)
            guard case .connect = link.due(now: 0) else { return #expect(Bool(false), "it begins") }
            _ = link.welcome(BrokerID(hi: 1, lo: 1), heartbeatMilliseconds: 1000, now: 0)
            _ = link.moveOn(to: ["tcp://here"], now: 0)
            guard case .connect(_, "tcp://here") = link.due(now: 0) else {
                #expect(given.count > 64, "there is room for it")
                continue
            }
            _ = link.welcome(BrokerID(hi: 1, lo: 2), heartbeatMilliseconds: 1000, now: 0)
            link.relearn((0..<200).map { "tcp://\($0)" })
            var tried: Set<String> = []
            for step in stride(from: Int64(0), to: 600_000, by: 100) {
                if case .connect(_, let endpoint) = link.due(now: step) { tried.insert(endpoint) }
            }
            #expect(tried.count == 64 && tried.isSuperset(of: given) && tried.contains("tcp://here"))
        }
    }

    @Test("who is sent on does not come back to the broker that sent it before all the others were tried")
    func sentOn() {
        var bench = CoreBench(brokers: ["tcp://a"])
        bench.handle(.tick)
        bench.say(.welcome(broker: CoreBench.broker, heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c"), BrokerAddress(endpoint: "tcp://d")]))
        bench.pass(10_000, beating: false)
        let tried = bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } }
        #expect(tried.prefix(3) == ["tcp://c", "tcp://d", "tcp://a"])
    }

    @Test("a learned broker that does not answer is tried until another one does, then forgotten; those of the operator are not")
    func forgetsLearned() {
        var bench = CoreBench.joined()
        func tried() -> [String] { bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } } }
        bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://c", publicKey: nil)]))
        bench.pass(60_000, beating: false)
        #expect(tried().first == "tcp://c")
        for endpoint in ["tcp://a", "tcp://b", "tcp://c"] { #expect(tried().count { $0 == endpoint } > 3, "\(endpoint) may come back") }
        // Until it is another one's turn, who then answers.
        for _ in 0..<1_000 where tried().last == "tcp://c" { bench.pass(100, beating: false) }
        bench.say(.welcome(broker: BrokerID(hi: 3, lo: 9), heartbeatMilliseconds: 1000))
        bench.actions = []
        bench.pass(60_000, beating: false)
        #expect(!tried().contains("tcp://c"))
        #expect(tried().count { $0 == "tcp://a" } > 3 && tried().count { $0 == "tcp://b" } > 3)
    }

    @Test("however many brokers were learned, the newest is gone to, and the oldest learned is forgotten for it")
    func learnsOn() {
        var bench = CoreBench.joined()
        for number in 0..<200 {
            bench.say(.leave(peers: [BrokerAddress(endpoint: "tcp://\(number)", publicKey: nil)]))
            #expect(bench.actions.contains(.connect(bench.link, endpoint: "tcp://\(number)")))
            bench.say(.welcome(broker: BrokerID(hi: 3, lo: UInt64(number)), heartbeatMilliseconds: 1000))
            bench.actions = []
        }
        bench.pass(600_000, beating: false)
        let tried = Set(bench.actions.compactMap { if case .connect(_, let endpoint) = $0 { endpoint } else { nil } })
        #expect(tried.contains("tcp://a") && tried.contains("tcp://b") && tried.contains("tcp://198") && !tried.contains("tcp://0"))
    }

    @Test("register_please is answered with every lease, the reported ones too")
    func registersAgain() {
        var bench = CoreBench.joined()
        bench.say(.grant(CoreBench.grant(1)))
        bench.say(.grant(CoreBench.grant(2)))
        bench.handle(.engine(.finished(CoreBench.grant(1).lease, generations: [], result: nil)))
        _ = bench.sent()
        bench.say(.registerPlease)
        guard case .register(let registration)? = bench.sent().first else {
            Issue.record("no registration")
            return
        }
        #expect(registration.leases == [CoreBench.grant(1).held, CoreBench.grant(2).held])
    }
}
