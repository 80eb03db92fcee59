import ArgumentParser
import TaskProtocol

/// How long a broker keeps history.
struct RetentionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Drop months of tasks, with their keys, attempts and training steps, that ended longer ago (as 12h, 90d, 26w); by default none.",
            valueName: "duration"))
    var retainTasks: RetentionPeriod?

    @Option(help: ArgumentHelp("Drop months of texts likewise; their tasks then show an expired result.", valueName: "duration"))
    var retainGenerations: RetentionPeriod?

    var policy: RetentionPolicy { RetentionPolicy(tasksSeconds: retainTasks?.seconds, generationsSeconds: retainGenerations?.seconds) }

    /// The same options for a broker that this program starts.
    var arguments: [String] {
        [("--retain-tasks", retainTasks), ("--retain-generations", retainGenerations)].flatMap { flag, period in
            period.map { [flag, "\($0.seconds / 3_600)h"] } ?? []
        }
    }
}

/// A length of time in whole hours, days or weeks.
struct RetentionPeriod: ExpressibleByArgument, Equatable {
    let seconds: Int64

    /// Longer than this nothing is kept by anybody, and dates stay dates.
    private static let longestHours: Int64 = 876_600

    init?(argument: String) {
        let hours: [Character: Int64] = ["h": 1, "d": 24, "w": 168]
        guard let unit = argument.last.flatMap({ hours[$0] }), argument.dropLast().utf8.allSatisfy({ (48...57).contains($0) }),
            let count = Int64(argument.dropLast()), count > 0, count <= Self.longestHours / unit
        else { return nil }
        seconds = count * unit * 3_600
    }
}
