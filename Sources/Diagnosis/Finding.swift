/// What one check found: a line of `scriptorium doctor`.
package struct Finding: Sendable, Equatable {
    package enum Verdict: String, Sendable {
        case ok
        /// It works, and its operator should know.
        case warn
        /// Something will not work until it is mended.
        case fail
    }

    /// What was looked at, in a word or two.
    package let subject: String
    package let verdict: Verdict
    /// What was seen.
    package let found: String
    /// What to do; empty where all is well.
    package let remedy: String

    package static func ok(_ subject: String, _ found: String) -> Finding { Finding(subject: subject, verdict: .ok, found: found, remedy: "") }

    package static func warn(_ subject: String, _ found: String, mend remedy: String) -> Finding {
        Finding(subject: subject, verdict: .warn, found: found, remedy: remedy)
    }

    package static func fail(_ subject: String, _ found: String, mend remedy: String) -> Finding {
        Finding(subject: subject, verdict: .fail, found: found, remedy: remedy)
    }
}

/// One thing to look at. A check never throws: what keeps it from looking is what it found.
package protocol Check: Sendable {
    /// Looks; may block for a few seconds, so it runs on a thread of its own.
    func findings() -> [Finding]
}
