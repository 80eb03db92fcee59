import Client
import Encodings
import Testing

/// What `explain` shows to people.
@Suite("explanation", .timeLimit(.minutes(1)))
struct TaskExplanationTests {
    private static let id = "0190b5a0-0000-7000-8000-00000000000a"
    /// 2026-11-24T02:10:00Z.
    private static let base: Int64 = 1_795_486_200_000

    private func lines(_ members: JSONObject, status: JSONObject = [:], after seconds: Int64 = 3_600) async throws -> [String] {
        var task: JSONObject = [
            "id": .string(Self.id), "kind": "generate", "queue": "default", "state": "queued", "priority": 0, "attempt": 0,
            "created_at": "2026-11-24T02:10:00Z", "run_at": "2026-11-24T02:10:00Z",
        ]
        for (name, value) in status { task[name] = value }
        var explanation: JSONObject = [
            "task": .object(task), "max_attempts": 3, "failures": 0, "losses": 0, "cancel_requested": false, "attempts": [], "earlier_attempts": 0,
            "after": [], "queue": ["name": "default", "paused": false, "depth": 3, "running": 2],
        ]
        for (name, value) in members { explanation[name] = value }
        let answer = explanation
        let broker = try ScriptedBroker { request, _ in
            guard request["op"]?.stringValue == "explain", request["task"]?.stringValue == Self.id else { return [] }
            return [["explanation": .object(answer)]]
        }
        let client = try ScriptoriumClient(brokers: [broker.endpoint])
        defer { client.close() }
        return try await client.explain(Self.id).lines(now: Self.base + seconds * 1_000) { "T+\(($0 - Self.base) / 1_000)" }
    }

    @Test("a whole life, in its order")
    func life() async throws {
        let text = try await lines(
            [
                "publisher": "shop", "failures": 1, "losses": 1,
                "pinned": [
                    "at": "2026-11-24T02:10:00Z", "seed": 12_345_678, "seed_assigned": true,
                    "model": ["name": "demo", "checkpoint": "c1", "sha256": "abcdef0123456789"],
                ],
                "attempts": [
                    [
                        "attempt": 1, "worker": ["id": "w1"], "broker": ["id": "b", "host": "here", "pid": 7], "started_at": "2026-11-24T02:10:01Z",
                        "finished_at": "2026-11-24T02:10:08.250Z", "outcome": "lost",
                        "error": ["code": "lost", "message": "its workers died"],
                    ],
                    [
                        "attempt": 2, "worker": ["id": "w2", "host": "there", "pid": 9], "started_at": "2026-11-24T02:11:00Z",
                        "finished_at": "2026-11-24T02:11:30Z", "outcome": "timed_out",
                        "error": ["code": "timed_out", "message": "it took longer than 30 s"],
                    ],
                    [
                        "attempt": 3, "worker": ["id": "w2"], "started_at": "2026-11-24T02:12:00Z", "finished_at": "2026-11-24T02:12:00.500Z",
                        "outcome": "released", "error": ["reason": "snooze"],
                    ],
                    ["attempt": 4, "worker": ["id": "w2"], "started_at": "2026-11-24T03:09:57Z"],
                ], "cancel_requested": true, "resume_saved_at": "2026-11-24T02:12:00Z",
            ], status: ["state": "running", "priority": 5, "key": "order 17", "attempt": 4])
        #expect(
            text == [
                "\(Self.id)  generate, running",
                "  submitted  T+0 (60 min ago) to queue default, priority 5, key order 17, by shop",
                "  pinned     T+0 (60 min ago): model demo, checkpoint c1 (sha256 abcdef012345…), seed 12345678 (drawn for it)",
                "  attempt 1  T+1 (59 min ago) on worker w1 by broker here:7, for 7.2 s: lost, its worker died",
                "  attempt 2  T+60 (59 min ago) on worker there:9, for 30 s: timed out, it took longer than 30 s",
                "  attempt 3  T+120 (58 min ago) on worker w2, for 500 ms: given back (snooze)",
                "  attempt 4  T+3597 (3.0 s ago) on worker w2: running",
                "  counted    1 of at most 3 failed attempts; 1 lost with their workers, of which only those in an isolated run count",
                "  saved      T+120 (58 min ago): it goes on from there",
                "  cancel     asked for: it ends at its next token or training step",
            ])
    }

    private static let waits: [(reason: String, members: JSONObject, line: String)] = [
        ("slot", ["line": ["ahead": 1, "at_least": false]], "for a free slot of a worker; 1 of its queue is before it"),
        ("slot", ["line": ["ahead": 10_000, "at_least": true]], "for a free slot of a worker; at least 10000 of its queue are before it"),
        ("worker", [:], "for a worker: none has joined that can run it"), ("model", [:], "for a worker to load its model"),
        ("run_at", [:], "for its time, T+7200 (in 60 min)"), ("retry_at", [:], "to be tried again, T+7200 (in 60 min)"),
        ("paused", [:], "for its queue, which is paused"),
        (
            "limit", ["queue": ["name": "default", "paused": false, "max_running": 2, "depth": 3, "running": 2]],
            "for its queue, which runs 2 and may run 2"
        ),
        (
            "after", ["after": [["id": "p1", "state": "succeeded"], ["id": "p2", "state": "running"], ["id": "p3"]]], "for p2 (running), p3 (gone)"
        ),
        ("something new", [:], "for something new"),
    ]

    @Test("what it waits for, and until when", arguments: waits)
    func waiting(_ wait: (reason: String, members: JSONObject, line: String)) async throws {
        let text = try await lines(wait.members, status: ["waiting_for": .string(wait.reason), "run_at": "2026-11-24T04:10:00Z"])
        #expect(text.last?.hasSuffix("waits      " + wait.line) == true, "\(text)")
    }

    @Test("an end tells why; what is not pinned, or too long to tell, says so")
    func ends() async throws {
        let text = try await lines(
            ["earlier_attempts": 150],
            status: [
                "state": "failed", "finished_at": "2026-11-24T02:40:00Z", "error": ["code": "lost", "message": "its workers died", "field": .null],
            ], after: 86_400 * 3)
        #expect(text.last == "  ended      T+1800 (2 days ago): failed, lost: its workers died")
        #expect(text.contains { $0.contains("pinned     not yet") } && text.contains { $0.contains("1 to 150 are not told here") })
    }
}
