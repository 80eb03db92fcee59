import Encodings
import TaskProtocol
import TestSupport

/// A client that asks again with the same key until it is answered, waits until it hears of the end, and now and then cancels, or retries what
/// may have ended.
struct SimulatedClient {
    private struct Wish {
        var task: JSONObject
        /// The wish whose task it waits for.
        var after: Int?
        var texts: Int?
        var id: TaskID?
        var hasEnded = false
        /// It was heard to have failed or been cancelled.
        var canBeRetried = false
        var askedAt: Int64 = -10_000
    }

    private var wishes: [Wish] = []
    private(set) var turns = 0
    private var hasAskedInCalm = false
    /// The wishes of one request for all that wait for no other.
    private var together: [Int] = []
    private static let patience: Int64 = 4_000

    /// Tasks whose acceptance was heard of.
    var accepted: [TaskID] { wishes.compactMap(\.id) }
    /// Whether the end of every task was heard of.
    var isSettled: Bool { wishes.allSatisfy(\.hasEnded) }
    /// The same, and there is none that it would have tried again.
    var isContent: Bool { wishes.allSatisfy { $0.hasEnded && !$0.canBeRetried } }
    /// Tasks that it wants done.
    var count: Int { wishes.count }

    init(tasks: Int, fate: inout Fate) {
        for number in 0..<tasks {
            let isFinetune = fate.happens(200)
            let texts = 1 + Int(fate.number(4))
            let params: JSONObject =
                isFinetune
                ? [
                    "config": "gpt2-cpu", "dataset": .object(["text": "a b c"]), "output": .string("out\(number)"),
                    "tokenizer": .object(["train": .object([:])]),
                ] : ["model": "demo", "n": .integer(Int64(texts)), "prompt": "a"]
            var task: JSONObject = [
                "kind": .string(isFinetune ? "finetune" : "generate"), "key": .string("key \(number)"),
                "max_attempts": .integer(fate.happens(200) ? 1 + fate.number(5) : 50), "params": .object(params),
            ]
            if fate.happens(150) { task["priority"] = .integer(fate.number(200) - 100) }
            if fate.happens(100) {
                task["run_at"] = .string(Timestamp.text(milliseconds: SimulatedWorld.databaseEpoch + fate.troubleUntil - fate.number(5_000)))
            }
            let after = number > 0 && fate.happens(150) ? Int(fate.number(Int64(number))) : nil
            wishes.append(Wish(task: task, after: after, texts: isFinetune ? nil : texts))
        }
    }

    /// How many texts a task was asked for; nil for another kind, and for a task of somebody else.
    func texts(of id: TaskID) -> Int? { wishes.first { $0.id == id }?.texts }

    /// One message.
    struct Saying {
        var payload: [UInt8]
        /// The task that it asks to be retried.
        var retries: TaskID?
    }

    /// What it says now.
    mutating func turn(now: Int64, fate: inout Fate) -> [Saying] {
        turns += 1
        var sayings: [Saying] = []
        if now >= fate.troubleUntil, !hasAskedInCalm, !fate.isPlanned {
            // What was lost in the trouble is not waited for once more: nothing comes of it but time.
            hasAskedInCalm = true
            for index in wishes.indices { wishes[index].askedAt = -10_000 }
        }
        if fate.weather.calmStart > 0, now < fate.troubleFrom, accepted.isEmpty { sayings += submitTogether(now) }
        for index in wishes.indices where !wishes[index].hasEnded && now - wishes[index].askedAt > Self.patience + 500 {
            if fate.happens(300) { continue }
            guard let payload = wishes[index].id.map({ wait($0, index) }) ?? submit(index) else { continue }
            wishes[index].askedAt = now
            sayings.append(Saying(payload: payload))
        }
        if fate.happens(fate.weather.cancels), let id = accepted.randomElement(using: &fate.random) { sayings.append(Saying(payload: cancel([id]))) }
        // Once all is calm everything ends for good.
        guard now < fate.troubleUntil else { return sayings }
        for wish in wishes where wish.canBeRetried && fate.happens(400) {
            guard let id = wish.id else { continue }
            sayings.append(Saying(payload: retry(id), retries: id))
            if fate.happens(300) { sayings.append(Saying(payload: cancel([id]))) }
        }
        return sayings
    }

    /// Everything that waits for nothing, in one request.
    private mutating func submitTogether(_ now: Int64) -> [Saying] {
        together = wishes.indices.filter { wishes[$0].after == nil && now - wishes[$0].askedAt > Self.patience + 500 }
        guard !together.isEmpty else { return [] }
        for index in together { wishes[index].askedAt = now }
        return [Saying(payload: Self.payload(["id": "all", "op": "submit", "tasks": .array(together.map { .object(wishes[$0].task) })]))]
    }

    /// - Returns: nil while the task that it waits for is not known to be accepted.
    private func submit(_ index: Int) -> [UInt8]? {
        var task = wishes[index].task
        if let after = wishes[index].after {
            guard let parent = wishes[after].id else { return nil }
            task["after"] = .array([.string("\(parent)")])
        }
        return Self.payload(["id": .integer(Int64(index)), "op": "submit", "task": .object(task)])
    }

    private func wait(_ id: TaskID, _ index: Int) -> [UInt8] {
        Self.payload(["id": .integer(Int64(index)), "op": "wait", "task": .string("\(id)"), "timeout_ms": .integer(Self.patience)])
    }

    private func cancel(_ ids: [TaskID]) -> [UInt8] {
        Self.payload(["id": "cancel", "ids": .array(ids.map { .string("\($0)") }), "op": "cancel"])
    }

    private func retry(_ id: TaskID) -> [UInt8] {
        Self.payload(["id": "retry", "ids": .array([.string("\(id)")]), "op": "retry"])
    }

    /// In MessagePack, which takes less time to read than JSON: requests and replies are a good part of what a history costs.
    private static func payload(_ request: JSONObject) -> [UInt8] {
        var writer = MessagePackWriter()
        JSONValue.object(request).write(to: &writer)
        return writer.bytes
    }

    /// Cancels everything whose acceptance was heard of.
    func cancelAll() -> [Saying] { accepted.isEmpty ? [] : [Saying(payload: cancel(accepted))] }

    /// Hears a reply.
    /// - Returns: the ids of tasks that it says are accepted.
    mutating func take(_ payload: [UInt8]) -> [TaskID] {
        guard let root = try? Document.parse(payload: payload).root else { return [] }
        let isAll = root["re"]?.stringValue == "all"
        let index = root["re"]?.integerValue.map { Int($0) }
        guard isAll || index.map(wishes.indices.contains) == true else { return [] }
        let indices = isAll ? together : [index ?? 0]
        guard root["ok"]?.boolValue == true else {
            // Refused, as by a broker that has just started: it is said again at the next turn.
            for index in indices { wishes[index].askedAt = -10_000 }
            return []
        }
        if !isAll, let index, let status = root["task"].flatMap({ TaskStatus($0) }) {
            if status.state.isTerminal {
                wishes[index].hasEnded = true
                wishes[index].canBeRetried = status.state != .succeeded
            } else {
                wishes[index].askedAt = -10_000
            }
            return []
        }
        var ids: [TaskID] = []
        root["tasks"]?.forEachElement { node in
            if let id = node["id"]?.stringValue.flatMap(TaskID.init(_:)) { ids.append(id) }
        }
        for (index, id) in zip(indices, ids) {
            wishes[index].id = id
            wishes[index].askedAt = -10_000
        }
        return ids
    }
}
