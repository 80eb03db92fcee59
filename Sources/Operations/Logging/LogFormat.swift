internal import Glibc
package import Logging

/// How a process writes its log to standard error.
package enum LogFormat: String, Sendable, CaseIterable {
    /// One JSON object a line: for machines.
    case json
    /// One readable line an event: for people.
    case text
    /// `text` where standard error is a terminal, else `json`.
    case automatic

    /// Sets up swift-log for this process. Called once, before the first logger is made.
    package func bootstrap(level: Logger.Level) {
        let readable = self == .text || (self == .automatic && isatty(STDERR_FILENO) == 1)
        let colour = readable && isatty(STDERR_FILENO) == 1 && getenv("NO_COLOR") == nil
        LoggingSystem.bootstrap { label in
            LineLogHandler(label: label, level: level, style: readable ? .text(colour: colour) : .json)
        }
    }
}
