import Broker
import TaskProtocol
import Testing

@Suite("Ids of checkpoints")
struct CheckpointIdentityTests {
    @Test("two brokers give one checkpoint one id, and different checkpoints different ones")
    func identity() throws {
        let tasks = (0..<50).map { UUIDValue.version7(milliseconds: 1_795_000_000_000 + Int64($0)) }
        var seen: Set<UUIDValue> = []
        for task in tasks {
            for step in [0, 1, 2, 1000, 1001] {
                let id = UUIDValue.ofCheckpoint(task: task, step: step)
                #expect(id == UUIDValue.ofCheckpoint(task: task, step: step))
                #expect(seen.insert(id).inserted)
                #expect(Array(id.description)[14] == "7", "a version-7 id: \(id)")
                #expect(id.hi >> 16 == task.hi >> 16, "it carries its task's time")
            }
        }
    }
}
