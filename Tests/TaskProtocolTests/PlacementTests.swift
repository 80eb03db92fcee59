import TaskProtocol
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
}
