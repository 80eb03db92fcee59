import ArgumentParser
import Glibc
import Supervision

/// The command line's root: it names the commands and holds nothing else.
struct Scriptorium: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scriptorium",
        abstract: "A message-queue worker service for text generation: ZeroMQ brokers, stateless workers, results in PostgreSQL.",
        discussion: """
            Every option can also come from the environment (SCRIPTORIUM_ and its name in capitals, - as _, lists with commas) or from --config FILE \
            (a JSON map of option names); flags win over environment over file.

            Exit status: 0 done; 1 the work failed; 2 the command line or input is wrong; 69 a needed service is away; 130 interrupted.
            """,
        version: Version.text,
        groupedSubcommands: [
            CommandGroup(
                name: "Services",
                subcommands: [
                    UpCommand.self, BrokerCommand.self, WorkerCommand.self, MigrateCommand.self, HealthCommand.self, KeygenCommand.self,
                    DoctorCommand.self,
                ]),
            CommandGroup(
                name: "Tasks",
                subcommands: [
                    SubmitCommand.self, WaitCommand.self, WatchCommand.self, GetCommand.self, CancelCommand.self, RetryCommand.self,
                    ExplainCommand.self,
                ]),
            CommandGroup(name: "Queues", subcommands: [QueueCommand.self, ScheduleCommand.self]),
            CommandGroup(
                name: "Models and data",
                subcommands: [ModelCommand.self, DatasetCommand.self, TokenizerCommand.self, ArtifactsCommand.self]),
            CommandGroup(
                name: "The engine alone",
                subcommands: [
                    GenerateCommand.self, VerifyCommand.self, TrainCommand.self, EncodeCommand.self, ScoreCommand.self, TokenizeCommand.self,
                ]),
            CommandGroup(name: "Measuring", subcommands: [BenchCommand.self]),
        ])
}

@main
enum Program {
    static func main() async {
        let arguments = Array(CommandLine.arguments.dropFirst())
        prepareSignals(for: Settings.commandName(arguments))
        do {
            let settings = try Settings(description: Scriptorium._dumpHelp(), environment: environment())
            var command = try Scriptorium.parseAsRoot(try settings.expand(arguments))
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let failure as CommandFailure {
            fail(failure.description, status: failure.status)
        } catch {
            let status = Scriptorium.exitCode(for: error).rawValue
            let message = Scriptorium.fullMessage(for: error)
            if status == 0 {
                print(message)
                leave(0)
            }
            // The argument parser ends usage errors with 64; the contract says 2.
            if status == 64 { fail(message, status: 2, isWhole: true) }
            if message.isEmpty { leave(status) }
            fail(message, status: status, isWhole: true)
        }
        leave(0)
    }

    /// Ends the process with what was printed, and without the C library's clean-up: threads that still run, a library's own or one that has just handed
    /// over its result, would meet what it has destroyed, and the process would end with a signal after all its work was done.
    static func leave(_ status: Int32) -> Never {
        fflush(nil)
        _exit(status)
    }

    /// Services drain at a signal; every other command ends at once: at SIGINT with 130, and quietly where its reader went away.
    private static func prepareSignals(for command: String?) {
        if ["up", "broker", "worker"].contains(command) {
            SignalWatcher.install()
        } else {
            signal(SIGINT) { _ in _exit(130) }
            signal(SIGPIPE, SIG_DFL)
        }
    }

    private static func fail(_ message: String, status: Int32, isWhole: Bool = false) -> Never {
        tell(isWhole ? message : "error: " + message)
        leave(status)
    }

    /// A line for whoever runs the command, beside what it prints.
    static func note(_ message: String) { tell("note: " + message) }

    private static func tell(_ line: String) {
        fflush(nil)
        let bytes = Array((line + "\n").utf8)
        _ = write(STDERR_FILENO, bytes, bytes.count)
    }

    /// The process's environment.
    static func environment() -> [String: String] {
        var result: [String: String] = [:]
        var place = environ
        while let entry = place.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") { result[String(text[..<equals])] = String(text[text.index(after: equals)...]) }
            place += 1
        }
        return result
    }
}
