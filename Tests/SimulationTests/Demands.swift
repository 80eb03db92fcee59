import Synchronization
import TaskProtocol
import Worker

/// What the tasks of one history need, each looked at once: workers ask at every grant and every start.
///
/// The world's tasks are of two shapes, told apart without decoding them: that is what the worker's own tests do, and here it would be a tenth of all.
final class Demands: Sendable {
    private let known = Mutex<[TaskID: TaskDemand]>([:])
    private static let dataset = Array(#""dataset":"#.utf8)
    private static let count = Array(#""n":"#.utf8)

    func of(_ grant: WorkerGrant) throws -> TaskDemand {
        if let demand = known.withLock({ $0[grant.task] }) { return demand }
        let demand = Self.demand(grant.resolved)
        known.withLock { $0[grant.task] = demand }
        return demand
    }

    private static func demand(_ resolved: [UInt8]) -> TaskDemand {
        if place(of: dataset, in: resolved) != nil { return .everything }
        guard let place = place(of: count, in: resolved), place < resolved.count else { return .sequences(1) }
        return .sequences(max(1, Int(resolved[place]) - 48))
    }

    /// Behind the first occurrence.
    private static func place(of word: [UInt8], in bytes: [UInt8]) -> Int? {
        guard bytes.count >= word.count else { return nil }
        return (0...bytes.count - word.count).first { bytes[$0] == word[0] && bytes[$0..<$0 + word.count].elementsEqual(word) }.map {
            $0 + word.count
        }
    }
}
