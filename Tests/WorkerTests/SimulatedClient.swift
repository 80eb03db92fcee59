import Encodings
import TaskProtocol
import TestSupport

/// A client that asks again with the same key until it is answered, and now and then cancels, or retries what may have ended.
struct SimulatedClient {
    private struct Wish {
        var key: String
        var task: JSONObject
        var texts: Int
        var id: TaskID?
    }

    private var wishes: [Wish] = []
    private var turns = 0

    /// Tasks whose acceptance was heard of.
    var accepted: [TaskID] { wishes.compactMap(\.id) }
    /// Whether every task is accepted.
    var isSettled: Bool { wishes.allSatisfy { $0.id != nil } }

    init(tasks: Int, random: inout SeededGenerator) {
        for number in 0..<tasks {
            let isFinetune = random.next() % 5 == 0
            let texts = 1 + Int(random.next() % 4)
            let params: JSONObject =
                isFinetune
                ? [
                    "config": "gpt2-cpu", "dataset": .object(["text": "a b c"]), "output": .string("out\(number)"),
                    "tokenizer": .object(["train": .object([:])]),
                ] : ["model": "demo", "n": .integer(Int64(texts)), "prompt": "a"]
            let key = "key \(number)"
            wishes.append(
                Wish(
                    key: key,
                    task: [
                        "kind": .string(isFinetune ? "finetune" : "generate"), "key": .string(key), "max_attempts": .integer(50),
                        "params": .object(params),
                    ], texts: isFinetune ? 0 : texts))
        }
    }

    /// How many texts a task was asked for.
    func texts(of id: TaskID) -> Int { wishes.first { $0.id == id }?.texts ?? 0 }

    /// One message.
    struct Saying {
        var payload: [UInt8]
        /// The task that it asks to be retried.
        var retries: TaskID?
    }

    /// What it says now.
    mutating func turn(random: inout SeededGenerator) -> [Saying] {
        turns += 1
        var sayings: [Saying] = []
        for wish in wishes where wish.id == nil && random.next() % 3 != 0 {
            sayings.append(Saying(payload: JSONValue.object(["id": .string(wish.key), "op": "submit", "task": .object(wish.task)]).serialised))
        }
        if random.next() % 6 == 0, let id = accepted.randomElement(using: &random) {
            sayings.append(Saying(payload: JSONValue.object(["id": "cancel", "ids": .array([.string("\(id)")]), "op": "cancel"]).serialised))
        }
        if random.next() % 4 == 0, let id = accepted.randomElement(using: &random) {
            let map: JSONObject = ["id": "retry", "ids": .array([.string("\(id)")]), "op": "retry"]
            sayings.append(Saying(payload: JSONValue.object(map).serialised, retries: id))
        }
        return sayings
    }

    /// Hears a reply.
    /// - Returns: the id of a task that it says is accepted.
    mutating func take(_ payload: [UInt8]) -> TaskID? {
        guard let root = try? Document.parse(json: payload).root, root["ok"]?.boolValue == true, let key = root["re"]?.stringValue,
            let index = wishes.firstIndex(where: { $0.key == key })
        else { return nil }
        var ids: [TaskID] = []
        root["tasks"]?.forEachElement { node in
            if let id = node["id"]?.stringValue.flatMap(TaskID.init(_:)) { ids.append(id) }
        }
        guard let id = ids.first else { return nil }
        wishes[index].id = id
        return id
    }
}
