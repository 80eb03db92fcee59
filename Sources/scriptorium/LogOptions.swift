import ArgumentParser
import Logging
import Operations

/// How a service logs.
struct LogOptions: ParsableArguments {
    @Option(help: "The least level that is logged: trace, debug, info, notice, warning, error, critical.")
    var logLevel = "info"

    @Option(help: "How log lines look: json, text, or automatic (text on a terminal).")
    var logFormat = "automatic"

    func validate() throws {
        guard Logger.Level(rawValue: logLevel) != nil else { throw ValidationError("--log-level: \(logLevel) is no level") }
        guard LogFormat(rawValue: logFormat) != nil else { throw ValidationError("--log-format: say json, text or automatic, not \(logFormat)") }
    }

    /// Sets up logging for the process.
    /// - Returns: the logger of the service.
    func start(_ label: String) -> Logger {
        (LogFormat(rawValue: logFormat) ?? .automatic).bootstrap(level: Logger.Level(rawValue: logLevel) ?? .info)
        return Logger(label: label)
    }
}
