import ArgumentParser
import Client
import Encodings

/// `scriptorium schedule`: periodic tasks.
struct ScheduleCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "schedule", abstract: "Periodic tasks: one task a tick of a cron expression, however many brokers run.",
        subcommands: [
            ScheduleAddCommand.self, ScheduleListCommand.self, ScheduleEnableCommand.self, ScheduleDisableCommand.self, ScheduleRemoveCommand.self,
        ])
}

struct ScheduleAddCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Make a periodic task, or change the one of this name.",
        discussion: """
            --cron takes five fields (minute, hour, day of the month, month, day of the week) with lists, ranges, steps and names, or @hourly, @daily, \
            @weekly, @monthly, @yearly. All times are UTC. Each task carries the tags schedule and tick.
            """)

    @Argument(help: "Its name.")
    var name: String

    @Option(help: ArgumentHelp("When, as \"0 3 * * mon-fri\".", valueName: "expression"))
    var cron: String?

    @Option(help: "generate, finetune or verify.")
    var kind = "generate"

    @Option(help: ArgumentHelp("The task's parameters by the contract's names, as a JSON map.", valueName: "json"))
    var params: String?

    @Option(help: "The task's queue (default).")
    var queue: String?

    @Option(help: "-100 … 100, higher first (0).")
    var priority: Int?

    @Option(name: .customLong("timeout-s"), help: ArgumentHelp("Bounds one attempt from its start.", valueName: "seconds"))
    var timeoutSeconds: Double?

    @Option(help: "Bounds failed attempts (3).")
    var maxAttempts: Int?

    @Option(help: "After an outage: one task for all missed ticks (one), none (skip), or one each (all). (one)")
    var misfire: String?

    @Flag(help: "Print the schedule as JSON.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        var request = ScheduleRequest(name: name)
        request.cron = cron
        request.queue = queue
        request.misfire = misfire
        if let params {
            var task = TaskRequest(kind: kind, parameters: try Self.parameters(params))
            task.priority = priority
            task.timeoutSeconds = timeoutSeconds
            task.maxAttempts = maxAttempts
            request.task = task
        } else if priority != nil || timeoutSeconds != nil || maxAttempts != nil {
            throw CommandFailure.usage("--priority, --timeout-s and --max-attempts go with --params")
        }
        let made = request
        let schedule = try await service.withClient { try await $0.schedule(made) }
        print(json ? schedule.json : ScheduleTable.text([schedule]))
    }

    private static func parameters(_ text: String) throws -> JSONObject {
        do {
            guard let object = try JSONValue.parse(text).objectValue else { throw CommandFailure.usage("--params is not a JSON map") }
            return object
        } catch let error as DocumentError { throw CommandFailure.usage("--params: \(error)") }
    }
}

struct ScheduleListCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the periodic tasks.")

    @Flag(help: "Print one JSON object a line.")
    var json = false

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let schedules = try await service.withClient { try await $0.schedules() }
        if json {
            for schedule in schedules { print(schedule.json) }
        } else {
            print(ScheduleTable.text(schedules))
        }
    }
}

struct ScheduleEnableCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Let a periodic task make tasks again; what it missed is not made up for.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var service: ServiceOptions

    func run() async throws { try await ScheduleTable.set(name, isEnabled: true, service) }
}

struct ScheduleDisableCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "disable", abstract: "Keep a periodic task from making tasks.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var service: ServiceOptions

    func run() async throws { try await ScheduleTable.set(name, isEnabled: false, service) }
}

struct ScheduleRemoveCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Remove a periodic task; the tasks that it made stay.")

    @Argument(help: "Its name.")
    var name: String

    @OptionGroup var service: ServiceOptions

    func run() async throws {
        let name = name
        try await service.withClient { try await $0.unschedule(name) }
    }
}

/// Schedules, for people.
private enum ScheduleTable {
    static func text(_ schedules: [ScheduleState]) -> String {
        TextTable(
            columns: [
                .left("schedule"), .left("cron"), .left("kind"), .left("queue"), .left("state"), .left("misfire"), .left("last"), .left("next"),
            ],
            rows: schedules.map {
                [$0.name, $0.cron, $0.kind, $0.queue, $0.isEnabled ? "enabled" : "disabled", $0.misfire, $0.lastRunAt ?? "-", $0.nextRunAt ?? "-"]
            }
        ).text
    }

    /// Switches a schedule on or off.
    static func set(_ name: String, isEnabled: Bool, _ service: ServiceOptions) async throws {
        var request = ScheduleRequest(name: name)
        request.isEnabled = isEnabled
        let made = request
        print(text([try await service.withClient { try await $0.schedule(made) }]))
    }
}
