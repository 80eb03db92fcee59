import TaskProtocol
import TestSupport
import Testing

@Suite("What a claim leases of the line that it saw") struct ClaimDealTests {
    private let session = UUIDValue(hi: 9, lo: 0)

    private func id(_ number: Int) -> TaskID { UUIDValue(hi: 1, lo: UInt64(number)) }

    /// A line of tasks by their clients, at the ranks 0, 10, 20 and on.
    private func line(_ clients: [String]) -> [LinePlace] {
        clients.enumerated().map { LinePlace(task: id($0), rank: Int64($0) * 10, client: $1) }
    }

    private func request(slots: Int, leases: Int? = nil, limit: Int, after last: String? = nil) -> ClaimRequest {
        ClaimRequest(
            broker: UUIDValue(hi: 8, lo: 0), queue: "q",
            offers: [PlacementOffer(session: session, freeSlots: slots, idle: true, models: [], numerics: ["float32/1"])],
            leases: (0..<(leases ?? slots)).map { UUIDValue(hi: 7, lo: UInt64($0)) }, fromRank: -5, limit: limit, lastClient: last)
    }

    private func candidate(_ task: TaskID, _ precision: Precision?) -> ClaimCandidate {
        let none = UUIDValue(hi: 0, lo: 0)
        return ClaimCandidate(
            grant: Grant(
                task: task, lease: none, session: none, attempt: 1, failures: 0, kind: .generate, queue: "q", isolated: false, maxAttempts: 5,
                timeoutSeconds: nil, resolved: [], resume: nil, waitedMilliseconds: 0),
            needs: precision.map { PlacementNeeds(model: "m", precision: $0, parameters: []) }, pastNumerics: [])
    }

    /// Goes along a line as a claim does, and locks all but some of it.
    private func deal(
        _ request: ClaimRequest, _ line: [LinePlace], farther: [LinePlace] = [], live: Bool = true, room: Int = .max, locked: Set<Int> = [],
        waiting: Set<Int> = [], later: Set<Int> = [], bfloat16: Set<Int> = []
    ) -> ClaimReply {
        var deal = ClaimDeal(request, near: line, farther: farther, isLive: { $0 == session && live }, room: room)
        var places = deal.next()
        while !places.isEmpty {
            var candidates: [TaskID: ClaimCandidate] = [:]
            for place in places {
                let number = Int(place.task.lo)
                if locked.contains(number) { continue }
                let precision = bfloat16.contains(number) ? Precision.bfloat16 : .float32
                candidates[place.task] = candidate(place.task, later.contains(number) ? nil : precision)
            }
            deal.place(places, candidates)
            places = deal.next()
        }
        return deal.reply(keeping: Set(deal.passedOver.filter { waiting.contains(Int($0.lo)) }))
    }

    private func numbers(_ reply: ClaimReply) -> [Int] { reply.grants.map { Int($0.task.lo) } }

    @Test("clients take turns, each grant under its own lease and for the session that was offered") func turns() {
        let reply = deal(request(slots: 3, limit: 10, after: "a"), line(["a", "a", "b", "c"]))
        #expect(numbers(reply) == [2, 3, 0] && reply.lastClient == "a")
        #expect(Set(reply.grants.map(\.lease)).count == 3 && reply.grants.allSatisfy { $0.session == session })
        #expect(reply.exhausted && reply.unplaced == 1 && reply.lowWater == 10, "the first that still waits")
        #expect(reply.lastSeen == nil && reply.ranOut == false)
    }

    @Test("a line that was leased whole moves the mark to its last place; an empty one keeps it") func mark() {
        let reply = deal(request(slots: 4, limit: 10), line(["a", "a"]))
        #expect(numbers(reply) == [0, 1] && reply.unplaced == 0 && reply.lowWater == 10)
        #expect(deal(request(slots: 4, limit: 10), []).lowWater == -5)
    }

    @Test("what somebody took since the scan is gone; what he only holds still waits, and stops the mark") func taken() {
        let window = line(["a", "a", "a"])
        let taken = deal(request(slots: 3, limit: 3), window, locked: [0])
        #expect(numbers(taken) == [1, 2] && taken.unplaced == 0 && taken.lowWater == 20)
        let held = deal(request(slots: 3, limit: 3), window, locked: [0], waiting: [0])
        #expect(numbers(held) == [1, 2] && held.unplaced == 1 && held.lowWater == 0)
    }

    @Test("a full window may be passed only if all of it was looked at, with room left") func passed() {
        let window = line(["a", "a", "a"])
        let end = LinePosition(rank: 20, task: id(2))
        #expect(deal(request(slots: 3, limit: 3), window, bfloat16: [0, 1, 2]).lastSeen == end)
        #expect(deal(request(slots: 3, limit: 3), window, later: [0], bfloat16: [1, 2]).lastSeen == end, "a later release's is not ours to wait for")
        #expect(deal(request(slots: 3, limit: 3), window, locked: [1], bfloat16: [0, 2]).lastSeen == end, "nor what is somebody else's now")
        #expect(deal(request(slots: 3, limit: 3), window, locked: [1], waiting: [1], bfloat16: [0, 2]).lastSeen == nil)
        #expect(deal(request(slots: 3, limit: 4), window, bfloat16: [0, 1, 2]).lastSeen == nil, "the line ends here")
        #expect(deal(request(slots: 1, limit: 3), window, bfloat16: [1, 2]).lastSeen == nil, "no room is left")
        #expect(deal(request(slots: 3, limit: 3), window, live: false).lastSeen == nil, "nor is that of a session that went")
    }

    @Test("no more than the leases, the queue's limit and the sessions that stand allow") func room() {
        let window = line(["a", "a", "a", "a"])
        #expect(numbers(deal(request(slots: 3, limit: 10), window, room: 2)) == [0, 1])
        let few = deal(request(slots: 3, leases: 2, limit: 10), window)
        #expect(numbers(few) == [0, 1] && few.ranOut, "there are slots, and no lease is left")
        #expect(numbers(deal(request(slots: 3, limit: 10), window, live: false)).isEmpty)
    }

    @Test("who has nothing in a full window has his turn from behind it, and does not move the mark") func farther() {
        let behind = [LinePlace(task: id(50), rank: 500, client: "z")]
        let reply = deal(request(slots: 2, limit: 3, after: "a"), line(["a", "a", "a"]), farther: behind)
        #expect(numbers(reply) == [50, 0] && reply.unplaced == 2 && reply.lowWater == 10)
        let pinned = deal(request(slots: 2, limit: 3), line(["a", "a", "a"]), farther: behind, bfloat16: [0, 1, 2])
        #expect(numbers(pinned) == [50] && pinned.lowWater == 0 && pinned.lastSeen == LinePosition(rank: 20, task: id(2)))
    }

    @Test("nothing is leased twice, nothing that was not locked, and what is neither leased nor gone counts as waiting", arguments: 0..<300)
    func property(_ seed: Int) {
        var random = SeededGenerator(seed: UInt64(seed))
        let window = line((0..<Int.random(in: 0...30, using: &random)).map { _ in ["a", "b", "c"].randomElement(using: &random) ?? "a" })
        // Some lines are held by nobody, some are all of one kind.
        func some() -> Set<Int> {
            let permille = [0, 0, 250, 900].randomElement(using: &random) ?? 0
            return Set(window.indices.filter { _ in Int.random(in: 0..<1_000, using: &random) < permille })
        }
        let (locked, later, bfloat16) = (some(), some(), some())
        let waiting: Set<Int> = Bool.random(using: &random) ? [] : locked.filter { _ in Bool.random(using: &random) }
        let limit = Bool.random(using: &random) ? window.count : 31
        let request = request(slots: Int.random(in: 0...12, using: &random), leases: Int.random(in: 0...12, using: &random), limit: limit)
        let reply = deal(request, window, locked: locked, waiting: waiting, later: later, bfloat16: bfloat16)
        let leased = Set(numbers(reply))
        #expect(leased.count == reply.grants.count && Set(reply.grants.map(\.lease)).count == leased.count)
        #expect(leased.isDisjoint(with: locked.union(later).union(bfloat16)))
        let placeable = Set(window.indices).subtracting(locked).subtracting(later).subtracting(bfloat16)
        #expect(leased.count == min(placeable.count, request.leases.count, request.offers[0].freeSlots))
        // The mark never passes what still waits for this broker.
        let standing = placeable.subtracting(leased).union(waiting).union(bfloat16.subtracting(later).subtracting(locked))
        if let mark = reply.lowWater { #expect(standing.allSatisfy { Int64($0) * 10 >= mark }) }
        #expect(reply.unplaced >= placeable.subtracting(leased).count)
        let hasRoom = leased.count < min(request.leases.count, request.offers[0].freeSlots)
        let mayPass = limit == window.count && !window.isEmpty && hasRoom && waiting.isEmpty
        #expect((reply.lastSeen != nil) == mayPass)
    }
}
