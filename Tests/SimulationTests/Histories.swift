import QueueSimulation
import Worker

/// Histories of large installations, by number. Each has its own weather; some have their beginning in common, in which all is well yet: brokers start,
/// workers join, and a client submits. What can go wrong there is that the beginning is cut off, as it is in those that have none.
struct Histories {
    /// How many a beginning.
    static let perBeginning: UInt64 = 16

    private let first: UInt64
    private let beginning: SimulatedWorld

    /// The beginning that a history, and its neighbours, have in common.
    /// - Parameter preloads: what every worker is to hold before it is ready.
    init(around history: UInt64, mutation: ModelStore.Mutation? = nil, preloads: [PreloadRequest] = []) {
        first = history - history % Self.perBeginning
        beginning = SimulatedWorld(fate: Fate(seed: ~first, start: 10_000), mutation: mutation, preloads: preloads)
        beginning.runCalm()
    }

    /// The numbers that have this beginning.
    var numbers: Range<UInt64> { first..<first + Self.perBeginning }

    /// A history of this beginning, to be run.
    subscript(number: UInt64) -> SimulatedWorld {
        let world = SimulatedWorld(copying: beginning)
        world.fate.turn(seed: number)
        world.planTrouble()
        return world
    }

    /// One history alone.
    static func world(_ number: UInt64, mutation: ModelStore.Mutation? = nil, preloads: [PreloadRequest] = []) -> SimulatedWorld {
        Histories(around: number, mutation: mutation, preloads: preloads)[number]
    }
}
