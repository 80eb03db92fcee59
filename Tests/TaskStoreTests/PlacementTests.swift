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
        #expect(Placement.assign(candidates: [candidate(), candidate(), candidate()], offers: offers) == [1, 0, 0])
    }

    @Test("a finetune or an isolated task takes a whole idle session") func whole() {
        let offers = [offer(0, 8), offer(1, 4, idle: true)]
        #expect(Placement.assign(candidates: [candidate(.finetune), candidate(isolated: true), candidate()], offers: offers) == [1, nil, 0])
        #expect(Placement.assign(candidates: [candidate(isolated: true), candidate()], offers: [offer(1, 4, idle: true)]) == [0, nil])
        #expect(Placement.assign(candidates: [candidate(), candidate(.finetune)], offers: [offer(1, 4, idle: true)]) == [0, nil])
    }

    @Test("a model counts as held in its own precision only, and no task goes where its precision is not known") func precision() {
        func candidate(_ precision: Precision) -> PlacementCandidate {
            PlacementCandidate(task: .random(), kind: .generate, model: "m", precision: precision, isolated: false)
        }
        let offers = [offer(0, 4), offer(1, 1, models: ["m"]), offer(2, 1, models: ["m/int8"])]
        #expect(Placement.assign(candidates: [candidate(.int8), candidate(.float32), candidate(.bfloat16)], offers: offers) == [2, 1, 0])
        let old = PlacementOffer(session: sessions[0], freeSlots: 9, idle: true, models: ["m"], numerics: ["float32/1"])
        #expect(Placement.assign(candidates: [candidate(.int8), candidate(.float32)], offers: [old]) == [nil, 0])
        #expect(Placement.assign(candidates: [candidate(.int8)], offers: [old, offer(1, 1)]) == [1])
    }

    @Test("no session gets more than its room") func room() {
        let placed = Placement.assign(candidates: (0..<10).map { _ in candidate() }, offers: [offer(0, 2), offer(1, 3), offer(2, 0)])
        #expect(placed.count { $0 == 0 } == 2 && placed.count { $0 == 1 } == 3 && placed.count { $0 == nil } == 5)
    }
}
