internal import Glibc

/// What the system says of processes that are not children of this one.
package enum ProcessTable {
    /// Whether a process still runs.
    ///
    /// One that has ended stays in the table until its parent takes notice; where an orphan's new parent never does (a container whose first process
    /// is no init), a signal would still find it. Source: proc(5), the third field of `/proc/PID/stat`.
    package static func isRunning(_ pid: Int32) -> Bool {
        guard let text = DataDirectory.read("/proc/\(pid)/stat"), let parenthesis = text.lastIndex(of: ")") else { return false }
        let state = text[text.index(after: parenthesis)...].drop { $0 == " " }.first
        return state != "Z" && state != "X"
    }
}
