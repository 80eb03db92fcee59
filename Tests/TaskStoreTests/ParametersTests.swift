import TaskProtocol
import TaskStore
import Testing

/// Brokers and workers of several releases side by side: tasks with parameters that not all workers know.
@Suite("Parameters that workers know") struct ParametersTests {
    private let known = Set(TaskParameters.knownNames)

    @Test("a parameter that this version does not know goes to workers that do, past those that do not") func later() throws {
        let bench = try Bench()
        let (old, new) = (SessionID.random(), SessionID.random())
        for session in [old, new] { try bench.register(session) }
        let later = try bench.submit([bench.item()])[0].id
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,later}', 'null')::text WHERE id = '\(later)'")
        let plain = try bench.submit([bench.item()])[0].id
        let first = try bench.claim(session: old, parameters: known)
        #expect(first.grants.map(\.task) == [plain] && first.unplaced == 1 && first.exhausted)
        #expect(try bench.claim(session: old, parameters: known).grants.isEmpty)
        #expect(try bench.claim(session: new, parameters: known.union(["later"])).grants.map(\.task) == [later])
        #expect(try bench.value("SELECT attempt FROM hot WHERE task = '\(later)'") == "1", "nobody was granted it in vain")
    }

    @Test("of two workers in one claim each gets what it knows") func together() throws {
        let bench = try Bench()
        let (old, new) = (SessionID.random(), SessionID.random())
        for session in [old, new] { try bench.register(session) }
        let ids = try (0..<3).map { _ in try bench.submit([bench.item()])[0].id }
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,later}', '{}')::text WHERE id = '\(ids[1])'")
        let offers = [(old, known, 9), (new, known.union(["later"]), 1)].map {
            PlacementOffer(session: $0.0, freeSlots: $0.2, idle: true, models: [], numerics: Bench.numerics, parameters: $0.1)
        }
        let request = ClaimRequest(
            broker: bench.broker, queue: "default", offers: offers, leases: (0..<10).map { _ in .random() }, fromRank: nil, limit: 100)
        guard case .claimed(let reply) = bench.ask(.claim(request)) else { return unexpected() }
        let found = Dictionary(uniqueKeysWithValues: reply.grants.map { ($0.task, $0.session) })
        #expect(found == [ids[0]: old, ids[1]: new, ids[2]: old])
    }

    @Test("a claim that locks a few at a time goes on until it finds one that can be placed") func behindMany() throws {
        let bench = try Bench()
        let session = SessionID.random()
        try bench.register(session)
        let strange = try (0..<70).map { _ in try bench.submit([bench.item()])[0].id }
        try bench.connection.execute("UPDATE task SET resolved = jsonb_set(resolved::jsonb, '{params,later}', '1')::text")
        // Ids of one millisecond sort by chance.
        let plain = try (0..<3).map { _ in try bench.submit([bench.item()])[0] }.sorted { ($0.rank, $0.id) < ($1.rank, $1.id) }.map(\.id)
        let reply = try bench.claim(slots: 1, session: session, parameters: known)
        #expect(reply.grants.map(\.task) == [plain[0]] && reply.unplaced == 72 && reply.exhausted)
        let rest = try bench.claim(slots: 9, fromRank: reply.lowWater, session: session, parameters: known)
        #expect(rest.grants.map(\.task) == Array(plain.dropFirst()))
        #expect(try bench.claim(slots: 99, parameters: []).grants.count == strange.count, "a worker that did not say gets any")
    }

    @Test("a registration keeps what the worker knows") func registered() throws {
        let bench = try Bench()
        let session = SessionID.random()
        try bench.register(session, parameters: ["a", "b"])
        #expect(try bench.value("SELECT parameters FROM sessions WHERE id = '\(session)'") == "{a,b}")
        #expect(try bench.value("SELECT parameters FROM sessions WHERE id = '\(bench.session)'") == "{}")
    }
}
