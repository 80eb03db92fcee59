import TaskProtocol
import TestSupport
import Testing

@Suite("Placement") struct PlacementTests {
    private let sessions = (0..<3).map { UUIDValue(hi: UInt64($0), lo: 0) }

    private func offer(
        _ index: Int, _ slots: Int, idle: Bool = false, models: Set<String> = [], numerics: [String] = ["bfloat16/1", "float32/1", "int8/1"]
    ) -> PlacementOffer {
        PlacementOffer(session: sessions[index], freeSlots: slots, idle: idle, models: models, numerics: numerics)
    }

    private func candidate(_ kind: TaskKind = .generate, model: String? = "m", isolated: Bool = false) -> PlacementCandidate {
        PlacementCandidate(task: .random(), kind: kind, model: model, isolated: isolated)
    }

    @Test("a session that holds the model is preferred, then the one with most room") func prefers() {
        let offers = [offer(0, 4), offer(1, 1, models: ["m"]), offer(2, 2)]
        #expect(Placement.assign(candidates: [candidate(), candidate(), candidate()], offers: offers).chosen == [1, 0, 0])
    }

    @Test("a finetune or an isolated task takes a whole idle session") func whole() {
        let offers = [offer(0, 8), offer(1, 4, idle: true)]
        let line = [candidate(.finetune), candidate(isolated: true), candidate()]
        #expect(Placement.assign(candidates: line, offers: offers).chosen == [1, nil, nil])
        #expect(Placement.assign(candidates: [candidate(isolated: true), candidate()], offers: [offer(1, 4, idle: true)]).chosen == [0, nil])
        #expect(Placement.assign(candidates: [candidate(), candidate(.finetune)], offers: [offer(1, 4, idle: true)]).chosen == [0, nil])
    }

    @Test("where no session is idle the emptiest is kept free for the first task that needs one, and one only") func keptFree() {
        let offers = [offer(0, 2), offer(1, 5), offer(2, 1)]
        let line = [candidate(), candidate(.finetune)] + (0..<8).map { _ in candidate() }
        // Before the finetune in line the rule is as ever: most room first.
        let outcome = Placement.assign(candidates: line, offers: offers)
        #expect(outcome.chosen == [1, nil, 0, 0, 2, nil, nil, nil, nil, nil] && outcome.keptFree == 1)
        let two = [candidate(.finetune), candidate(.finetune), candidate(), candidate()]
        #expect(Placement.assign(candidates: two, offers: offers).chosen == [nil, nil, 0, 0])
        // What cannot run it is not kept for it.
        let bound = PlacementCandidate(task: .random(), kind: .finetune, model: "m", isolated: false, numerics: "float32/9")
        #expect(Placement.assign(candidates: [bound, candidate()], offers: offers).chosen == [nil, 1])
    }

    @Test("under a steady stream of small tasks a finetune ahead of them gets a worker as soon as one has worked off what it holds")
    func steadyStream() {
        var busy = [4, 4, 4]
        var line = [candidate(.finetune)] + (0..<1_000).map { _ in candidate() }
        for tick in 0..<200 {
            // One task ends on one worker after the other, and what is free is offered.
            busy[tick % 3] -= min(1, busy[tick % 3])
            let offers = busy.indices.map { offer($0, 4 - busy[$0], idle: busy[$0] == 0) }
            let placed = Placement.assign(candidates: line, offers: offers).chosen
            if placed[0] != nil { return #expect(tick < 30) }
            for place in placed { if let place { busy[place] += 1 } }
            line = zip(line, placed).compactMap { $1 == nil ? $0 : nil }
        }
        Issue.record("the finetune never ran")
    }

    @Test("a model counts as held in its own precision only, and no task goes where its precision is not known") func precision() {
        func candidate(_ precision: Precision) -> PlacementCandidate {
            PlacementCandidate(task: .random(), kind: .generate, model: "m", precision: precision, isolated: false)
        }
        let offers = [offer(0, 4), offer(1, 1, models: ["m"]), offer(2, 1, models: ["m/int8"])]
        #expect(Placement.assign(candidates: [candidate(.int8), candidate(.float32), candidate(.bfloat16)], offers: offers).chosen == [2, 1, 0])
        let old = PlacementOffer(session: sessions[0], freeSlots: 9, idle: true, models: ["m"], numerics: ["float32/1"])
        #expect(Placement.assign(candidates: [candidate(.int8), candidate(.float32)], offers: [old]).chosen == [nil, 0])
        #expect(Placement.assign(candidates: [candidate(.int8)], offers: [old, offer(1, 1)]).chosen == [1])
    }

    @Test("no task goes where one of its parameters is not known; who did not say gets any") func parameters() {
        func offer(_ index: Int, _ slots: Int, _ parameters: Set<String>) -> PlacementOffer {
            PlacementOffer(session: sessions[index], freeSlots: slots, idle: true, models: [], numerics: ["float32/1"], parameters: parameters)
        }
        func candidate(_ parameters: Set<String>, _ kind: TaskKind = .generate) -> PlacementCandidate {
            PlacementCandidate(task: .random(), kind: kind, model: nil, isolated: false, parameters: parameters)
        }
        let (old, new, silent) = (offer(0, 9, ["a"]), offer(1, 1, ["a", "b"]), offer(2, 2, []))
        let line = [candidate(["a", "b"]), candidate(["a"]), candidate(["a", "b"]), candidate([])]
        #expect(Placement.assign(candidates: line, offers: [old, new]).chosen == [1, 0, nil, 0])
        #expect(Placement.assign(candidates: line, offers: [old, silent]).chosen == [1, 0, 1, 0])
        // Nothing is kept free for a finetune that could not run there.
        #expect(Placement.assign(candidates: [candidate(["b"], .finetune), candidate(["a"])], offers: [old]).chosen == [nil, 0])
        #expect(Placement.knownToAll([old, new, silent]) == ["a"] && Placement.knownToAll([new]) == ["a", "b"])
        #expect(Placement.knownToAll([silent]) == nil && Placement.knownToAll([]) == nil)
    }

    @Test("no session gets more than its room") func room() {
        let placed = Placement.assign(candidates: (0..<10).map { _ in candidate() }, offers: [offer(0, 2), offer(1, 3), offer(2, 0)]).chosen
        #expect(placed.count { $0 == 0 } == 2 && placed.count { $0 == 1 } == 3 && placed.count { $0 == nil } == 5)
    }

    // MARK: What a model costs

    /// Model m runs for a second and takes three to load; the first session holds it, with two slots.
    private func cost(held: Int, loadedIn: Int64? = nil, slots: Int = 2) -> [String: ModelCost] {
        ["m": ModelCost(run: 1_000, load: 3_000, loadedIn: loadedIn, slots: slots, held: held)]
    }

    private func session(
        _ index: Int, free: Int, slots: Int = 2, models: Set<String> = [], loading: Set<String> = [], avoids: Set<String> = []
    ) -> PlacementOffer {
        PlacementOffer(
            session: sessions[index], freeSlots: free, slots: slots, idle: false, models: models, loading: loading, avoids: avoids,
            numerics: ["float32/1"])
    }

    @Test("a wait is the tasks ahead, two of which end each run") func wait() {
        #expect((0...5).map { ModelCost(run: 1_000, load: 0, slots: 2, held: $0).wait } == [0, 0, 500, 1_000, 1_500, 2_000])
        #expect(ModelCost(run: 1_000, load: 0, slots: 0, held: 0).wait == nil)
    }

    @Test("while a worker that holds the model is soon free nobody else loads it; when waiting would cost more, one does, and only one")
    func spreads() {
        let offers = [session(0, free: 2, models: ["m"]), session(1, free: 4), session(2, free: 4)]
        // Two that wait behind the two at work, three more that wait in line; from then on it is worth loading.
        let line = (0..<8).map { _ in candidate() }
        let placed = Placement.assign(candidates: line, offers: offers, costs: cost(held: 2)).chosen
        #expect(placed == [0, 0, nil, nil, nil, nil, 1, 1])
        // Without figures the next free worker takes it; what only waits does so where the model is.
        #expect(Placement.assign(candidates: line, offers: offers).chosen == [1, 1, 2, 2, 0, 1, 2, 0])
    }

    @Test("before anything is known of a model's costs a free slot comes before a full worker that holds it, and that before another full one")
    func freeSlotFirst() {
        let full = session(0, free: 2, models: ["m"])
        #expect(Placement.assign(candidates: [candidate(), candidate(.verify)], offers: [full, session(1, free: 4)]).chosen == [1, 1])
        #expect(Placement.assign(candidates: [candidate()], offers: [session(0, free: 1, models: ["m"]), session(1, free: 2)]).chosen == [0])
        #expect(Placement.assign(candidates: [candidate()], offers: [session(0, free: 3, models: ["m"]), session(1, free: 4)]).chosen == [0])
    }

    @Test("a verify waits for a worker that holds its model, or not, as a generate does") func verifyCosts() {
        let offers = [session(0, free: 2, models: ["m"]), session(1, free: 4)]
        for kind in [TaskKind.generate, .verify] {
            #expect(Placement.assign(candidates: [candidate(kind)], offers: offers, costs: cost(held: 7)).chosen == [0])
            #expect(Placement.assign(candidates: [candidate(kind)], offers: offers, costs: cost(held: 8)).chosen == [1])
        }
    }

    @Test("what has waited for long goes to whoever has room; a worker without a slot for it is no gain") func waited() {
        let offers = [session(1, free: 4)]
        var placement = Placement(offers: offers, costs: cost(held: 4))
        #expect(placement.place(candidate(), waited: 1_400) == nil)
        #expect(placement.place(candidate(), waited: 1_500) == 0)
        var busy = Placement(offers: [session(1, free: 2)], costs: cost(held: 40))
        #expect(busy.place(candidate(), waited: 20_000) == nil)
        // Those that hold the model may not be able to run this task, or stand still.
        #expect(busy.place(candidate(), waited: 30_000) == 0)
    }

    @Test("a worker that is loading the model is waited for as long as it takes, and not a second one started") func loading() {
        let offers = [session(1, free: 3, loading: ["m"]), session(2, free: 4)]
        let line = (0..<2).map { _ in candidate() }
        #expect(Placement.assign(candidates: line, offers: offers, costs: cost(held: 4, loadedIn: 100)).chosen == [0, 0])
        #expect(Placement.assign(candidates: line, offers: offers, costs: cost(held: 4, loadedIn: 2_900)).chosen == [nil, nil])
    }

    @Test("of many short tasks only so many are left to wait beside a free worker") func many() {
        let short = ["m": ModelCost(run: 10, load: 3_000, slots: 16, held: 32)]
        let line = (0..<300).map { _ in candidate() }
        let placed = Placement.assign(candidates: line, offers: [session(1, free: 32, slots: 16)], costs: short).chosen
        #expect(placed.prefix(256).allSatisfy { $0 == nil } && placed[256..<288].allSatisfy { $0 == 0 } && placed[288] == nil)
    }

    @Test("where nobody holds the model there is nothing to wait for") func nobody() {
        #expect(Placement.assign(candidates: [candidate()], offers: [session(1, free: 1)], costs: cost(held: 0, slots: 0)).chosen == [0])
    }

    @Test("tasks of a model go past a worker that gave one back, others do not") func avoided() {
        let offers = [session(0, free: 4, avoids: ["m"]), session(1, free: 1)]
        #expect(Placement.assign(candidates: [candidate(), candidate(), candidate(model: "n")], offers: offers).chosen == [1, nil, 0])
    }

    @Test("however the figures stand, no room is used twice, and what has waited longer than a load finds what room there is")
    func costsNeverStarve() {
        var random = SeededGenerator(seed: 11)
        for _ in 0..<2_000 {
            let offers = (0..<3).map { index in
                session(
                    index, free: random.below(4), slots: 1 + random.below(3), models: random.chance(400) ? ["m"] : [],
                    loading: random.chance(200) ? ["m"] : [])
            }
            let costs = [
                "m": ModelCost(
                    run: Int64(random.below(5_000)), load: Int64(random.below(5_000)), loadedIn: random.chance(300) ? 500 : nil,
                    slots: random.below(4), held: random.below(8))
            ]
            var placement = Placement(offers: offers, costs: costs)
            var taken = [0, 0, 0]
            for _ in 0..<10 { if let place = placement.place(candidate(), waited: Int64(random.below(10_000))) { taken[place] += 1 } }
            #expect(zip(taken, offers).allSatisfy { $0 <= $1.freeSlots })
            let isWorthIt = offers.contains { $0.freeSlots > $0.slots && !$0.models.contains("m") || $0.loading.contains("m") && $0.freeSlots > 0 }
            var late = Placement(offers: offers, costs: costs)
            if isWorthIt || offers.contains(where: { $0.models.contains("m") && $0.freeSlots > 0 }) {
                #expect(late.place(candidate(), waited: 60_000) != nil, "\(offers) \(costs)")
            }
        }
    }
}
