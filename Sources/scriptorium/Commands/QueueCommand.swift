import ArgumentParser
import Client

/// `scriptorium queue`: settings of queues.
struct QueueCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Show queues, pause them, and limit how much of them runs at once.",
        discussion: "Queues need not be made: a task's `queue` names one. What runs goes on running when its queue is paused or limited.",
        subcommands: [QueueListCommand.self, QueuePauseCommand.self, QueueResumeCommand.self, QueueLimitCommand.self])
}

struct QueueListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the queues that have settings, or tasks waiting or running.")

    @Flag(help: "Print one JSON object a line.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let queues = try await service.withClient { try await $0.queues() }
        if json {
            for queue in queues { print(queue.json) }
        } else {
            print(QueueTable.text(queues))
        }
    }
}

struct QueuePauseCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "pause", abstract: "Start nothing more of a queue until `queue resume`.")

    @Argument(help: "The queue.")
    var name: String

    @Flag(help: "Print the queue as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let name = name
        let queue = try await service.withClient { try await $0.setQueue(name, isPaused: true) }
        print(json ? queue.json : QueueTable.text([queue]))
    }
}

struct QueueResumeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "resume", abstract: "Let a paused queue go on.")

    @Argument(help: "The queue.")
    var name: String

    @Flag(help: "Print the queue as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let name = name
        let queue = try await service.withClient { try await $0.setQueue(name, isPaused: false) }
        print(json ? queue.json : QueueTable.text([queue]))
    }
}

struct QueueLimitCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "limit", abstract: "Let at most so many tasks of a queue run at once.")

    @Argument(help: "The queue.")
    var name: String

    @Argument(help: "A number, or none to take the limit away.")
    var limit: String

    @Flag(help: "Print the queue as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func validate() throws {
        guard limit == "none" || Int(limit).map({ (0...1_000_000).contains($0) }) == true else {
            throw ValidationError("\(limit) is neither none nor a number in 0 … 1000000")
        }
    }

    func run() async throws {
        let (name, limit) = (name, Int(limit))
        let queue = try await service.withClient { try await $0.setQueue(name, maxRunning: limit) }
        print(json ? queue.json : QueueTable.text([queue]))
    }
}

/// Queues, for people.
private enum QueueTable {
    static func text(_ queues: [QueueState]) -> String {
        TextTable(
            columns: [.left("queue"), .left("state"), .right("limit"), .right("waiting"), .right("running")],
            rows: queues.map { queue in
                [queue.name, queue.isPaused ? "paused" : "open", queue.maxRunning.map(String.init) ?? "none", "\(queue.depth)", "\(queue.running)"]
            }
        ).text
    }
}
