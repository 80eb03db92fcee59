import Foundation
import TaskProtocol
import TaskStore
import Testing

/// Figures, not assertions: run with SCRIPTORIUM_MEASURE=1. (Tests switch fsync off: these are the processor's costs, not the disk's.)
@Suite("Throughput", .enabled(if: ProcessInfo.processInfo.environment["SCRIPTORIUM_MEASURE"] != nil), .serialized) struct ThroughputTests {
    private func tasksASecond(texts: Int, batches: Int, keyed: Bool = false, concurrentReader: Bool = false) throws -> String {
        let bench = try Bench()
        var submitSeconds = 0.0
        var completeSeconds = 0.0
        let size = 500
        let backend = try bench.value("SELECT pg_backend_pid()") ?? ""
        var ownCPU = 0.0
        let serverBefore = Self.serverSeconds(backend)
        for _ in 0..<batches {
            let items = (0..<size).map { _ in
                var submission = bench.generate()
                if keyed { submission.key = UUIDValue.random().description }
                return SubmitItem(
                    id: UUIDValue.version7(milliseconds: Int64(Date().timeIntervalSince1970 * 1000)), submission: submission, seed: 12_345_678,
                    seedAssigned: true, grant: GrantOffer(session: bench.session, lease: .random(), broker: bench.broker))
            }
            let start = ContinuousClock.now
            let cpu = Self.ownSeconds()
            let tasks = try bench.outcomes(items.map { SubmitGroup(items: [$0]) }).compactMap { outcome -> SubmittedTask? in
                if case .accepted(let tasks) = outcome { tasks[0] } else { nil }
            }
            let middle = ContinuousClock.now
            ownCPU += Self.ownSeconds() - cpu
            let completions = tasks.compactMap(\.grant).map { bench.completion($0, texts: texts) }
            let built = ContinuousClock.now
            let settled = try bench.complete(completions)
            #expect(settled.count == size)
            completeSeconds += (ContinuousClock.now - built) / .seconds(1)
            submitSeconds += (middle - start) / .seconds(1)
        }
        let count = Double(batches * size)
        return
            "\(texts) texts, keyed \(keyed): \(Int(count / (submitSeconds + completeSeconds))) tasks/s (submit \(Int(count / submitSeconds)), complete \(Int(count / completeSeconds))), processor: here \(Int(ownCPU / count * 1e6)) us a submit, server \(Int((Self.serverSeconds(backend) - serverBefore) / count * 1e6)) us a task"
    }

    private static func ownSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func serverSeconds(_ pid: String) -> Double {
        let fields = ((try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8)) ?? "").split(separator: " ")
        return fields.count > 14 ? ((Double(fields[13]) ?? 0) + (Double(fields[14]) ?? 0)) / 100 : 0
    }

    @Test("submit with claim at insert, and completion, in batches of 500 on one connection") func noOps() throws {
        _ = try tasksASecond(texts: 0, batches: 4)
        print("MEASURE", try tasksASecond(texts: 0, batches: 80))
        print("MEASURE", try tasksASecond(texts: 0, batches: 20, keyed: true))
        print("MEASURE", try tasksASecond(texts: 1, batches: 20))
    }

    @Test("one task alone: submit to recorded") func alone() throws {
        let bench = try Bench()
        var times: [Double] = []
        for _ in 0..<500 {
            let item = bench.item(lease: .random())
            let start = ContinuousClock.now
            let task = try bench.submit([item])[0]
            let completion = bench.completion(try #require(task.grant), texts: 0)
            _ = try bench.complete([completion])
            times.append((ContinuousClock.now - start) / .milliseconds(1))
        }
        times.sort()
        print("MEASURE one task alone: median \(times[250]) ms, 99 % \(times[495]) ms")
    }
}
