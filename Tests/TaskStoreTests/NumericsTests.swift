import TaskProtocol
import TaskStore
import Testing

/// While a release is rolled out: what is started again goes to a worker that computes as the first one did.
@Suite("Numerics of repeated attempts") struct NumericsTests {
    static let old = ["bfloat16/1", "float32/1", "int8/1"]
    static let new = ["bfloat16/1", "float32/2", "int8/1"]

    @Test(
        "a version is looked for as long as it lives, or a minute",
        arguments: [0, NumericsPreference.patience - 1, NumericsPreference.patience, .max])
    func rule(waited: Int64) {
        func preference(_ past: [String], _ precision: Precision, _ alive: [String]) -> NumericsPreference {
            NumericsPreference(past: past, precision: precision, alive: Set(alive), waited: waited)
        }
        #expect(preference(Self.old, .float32, Self.old + Self.new) == .version("float32/1"))
        #expect(preference(Self.old, .float32, Self.new) == (waited < NumericsPreference.patience ? .version("float32/1") : .gone("float32/1")))
        #expect(preference(Self.old, .int8, Self.new) == .version("int8/1"))
        #expect(preference([], .float32, Self.new) == .none)
        #expect(preference(["float32/1"], .int8, Self.new) == .none)
    }

    @Test("what starts anew is told in which version, and nothing where it is the same")
    func replacement() {
        #expect(NumericsPreference.gone("float32/1").replacement(Self.new) == "float32/2")
        #expect(NumericsPreference.gone("float32/1").replacement(Self.old) == nil)
        #expect(NumericsPreference.gone("float32/1").replacement(["int8/1"]) == nil)
        #expect(NumericsPreference.version("float32/1").replacement(Self.new) == nil)
        #expect(NumericsPreference.none.replacement(Self.new) == nil)
    }

    /// A task whose first attempt a worker of the old release began, and how that ended.
    private func repeated(_ bench: Bench, old: SessionID, _ end: (Grant) throws -> Void) throws -> Grant {
        try bench.register(old, numerics: Self.old)
        let grant = try bench.running(session: old)
        try end(grant)
        return grant
    }

    @Test("a failed task waits for a worker of its first version while one lives") func waits() throws {
        let (bench, old, new) = (try Bench(), SessionID.random(), SessionID.random())
        try bench.connection.execute("DELETE FROM sessions")
        try bench.register(new, numerics: Self.new)
        let first = try repeated(bench, old: old) { _ = try bench.settle(.fail([bench.failure($0)])) }
        let other = try bench.submit([bench.item()])[0].id
        // What has no past goes anywhere, and past what waits.
        let claim = try bench.claim(session: new, numerics: Self.new)
        #expect(claim.grants.map(\.task) == [other] && claim.unplaced == 1 && claim.grants[0].newNumerics == nil)
        try bench.connection.execute("UPDATE tries SET finished_at = now() - interval '1 hour'")
        #expect(try bench.claim(session: new, numerics: Self.new).grants.isEmpty)
        let again = try #require(try bench.claim(session: old, numerics: Self.old).grants.first)
        #expect(again.task == first.task && again.attempt == 2 && again.newNumerics == nil)
    }

    @Test("where no live worker computes in its version it starts anew after a minute, and is told so") func startsAnew() throws {
        let (bench, old, new) = (try Bench(), SessionID.random(), SessionID.random())
        try bench.connection.execute("DELETE FROM sessions")
        try bench.register(new, numerics: Self.new)
        let first = try repeated(bench, old: old) { grant in
            let counter = Int64(try bench.value("SELECT counter FROM sessions WHERE id = '\(old)'") ?? "") ?? -1
            guard case .swept(let swept) = bench.ask(.sweep([DeadSession(session: old, counter: counter)])) else { return unexpected() }
            #expect(swept.settled.map(\.reference.task) == [grant.task])
        }
        #expect(try bench.value("SELECT numerics FROM hot") == "{bfloat16/1,float32/1,int8/1}")
        #expect(try bench.claim(session: new, numerics: Self.new).grants.isEmpty)
        try bench.connection.execute("UPDATE hot SET run_at = now() - interval '90 s'; UPDATE tries SET finished_at = now() - interval '61 s'")
        let anew = try #require(try bench.claim(session: new, numerics: Self.new).grants.first)
        #expect(anew.task == first.task && anew.attempt == 2 && anew.newNumerics == "float32/2")
        // From now on it belongs to the new release.
        _ = try bench.settle(.fail([bench.failure(anew)]))
        #expect(try bench.value("SELECT numerics FROM hot") == "{bfloat16/1,float32/2,int8/1}")
        let third = try #require(try bench.claim(session: new, numerics: Self.new).grants.first)
        #expect(third.attempt == 3 && third.newNumerics == nil)
    }

    @Test("a worker that gives a task back unbegun does not bind it; one that drains does", arguments: ["snooze", "unsupported", "draining"])
    func givenBack(reason: String) throws {
        let (bench, old, new) = (try Bench(), SessionID.random(), SessionID.random())
        try bench.connection.execute("DELETE FROM sessions")
        try bench.register(new, numerics: Self.new)
        let first = try repeated(bench, old: old) {
            _ = try bench.settle(.release([Release(task: $0.task, lease: $0.lease, attempt: 1, reason: reason)]))
        }
        let grants = try bench.claim(session: new, numerics: Self.new).grants
        #expect(grants.map(\.task) == (reason == "draining" ? [] : [first.task]))
    }
}
