internal import Glibc
import Synchronization

/// How a child process ended.
package enum ExitStatus: Sendable, Equatable, CustomStringConvertible {
    case exited(Int32)
    case killed(signal: Int32)

    package var description: String {
        switch self {
        case .exited(let code): "exited with status \(code)"
        case .killed(let signal): "was ended by signal \(signal)"
        }
    }
}

/// A child process in a process group of its own, reaped by a thread that waits for it.
///
/// A threaded Swift process must never fork: this is `posix_spawn` with an empty signal mask, default signal handlers and, beside the
/// standard three descriptors (all others of ours close on exec), where asked for two pipes:
/// - descriptor 3, the *lifeline*: its other end stays open as long as this process lives, so a child that reads it learns of our death;
/// - descriptor 4, the *report*: the child writes one line there once it is ready.
package final class ChildProcess: Sendable {
    /// What to start.
    package struct Specification: Sendable {
        /// An absolute path.
        package var executable: String
        /// Without the program's own name.
        package var arguments: [String]
        /// The whole environment, `NAME=value` each.
        package var environment: [String]
        /// Standard output and error are appended there; nil leaves them as ours.
        package var logPath: String?
        /// Whether the child gets the lifeline and report pipes.
        package var hasPipes: Bool

        package init(executable: String, arguments: [String], environment: [String], logPath: String? = nil, hasPipes: Bool = false) {
            self.executable = executable
            self.arguments = arguments
            self.environment = environment
            self.logPath = logPath
            self.hasPipes = hasPipes
        }
    }

    package let pid: Int32
    private let lifeline: Int32
    private let report: Int32
    private let ended = Condition<End>()

    private struct End: Sendable {
        let status: ExitStatus
        /// On the monotonic clock.
        let at: Double
    }

    private init(pid: Int32, lifeline: Int32, report: Int32) {
        self.pid = pid
        self.lifeline = lifeline
        self.report = report
    }

    deinit {
        if lifeline >= 0 { close(lifeline) }
        if report >= 0 { close(report) }
    }

    /// Starts a child.
    /// - Throws: ``ProcessError`` naming the program and the system's reason.
    package static func spawn(_ specification: Specification) throws(ProcessError) -> ChildProcess {
        // One at a time: a pipe that another thread's child inherited before it was marked close-on-exec would never end.
        pthread_mutex_lock(spawning.pointer)
        defer { pthread_mutex_unlock(spawning.pointer) }
        var lifelinePipe: [Int32] = [-1, -1]
        var reportPipe: [Int32] = [-1, -1]
        if specification.hasPipes {
            lifelinePipe = try makePipe(for: specification.executable)
            do throws(ProcessError) { reportPipe = try makePipe(for: specification.executable) } catch {
                for end in lifelinePipe { close(end) }
                throw error
            }
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        if let log = specification.logPath {
            posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o600)
            posix_spawn_file_actions_adddup2(&actions, 1, 2)
        }
        if specification.hasPipes {
            posix_spawn_file_actions_adddup2(&actions, lifelinePipe[0], 3)
            posix_spawn_file_actions_adddup2(&actions, reportPipe[1], 4)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var pid: pid_t = 0
        let result = withCStrings([specification.executable] + specification.arguments) { arguments in
            withCStrings(specification.environment) { environment in
                posix_spawn(&pid, specification.executable, &actions, &attributes, arguments, environment)
            }
        }
        if specification.hasPipes {
            close(lifelinePipe[0])
            close(reportPipe[1])
        }
        guard result == 0 else {
            if specification.hasPipes {
                close(lifelinePipe[1])
                close(reportPipe[0])
            }
            throw .system("starting \(specification.executable)", result)
        }
        let child = ChildProcess(pid: pid, lifeline: lifelinePipe[1], report: reportPipe[0])
        startThread { [ended = child.ended, pid = child.pid] in ended.set(End(status: reap(pid), at: monotonicSeconds())) }
        return child
    }

    /// A pipe's reading and writing end, which close on exec. They are moved above the numbers that a child has its ends at: put there one after the
    /// other, none takes the place of one that is still to be moved.
    private static func makePipe(for executable: String) throws(ProcessError) -> [Int32] {
        let what = "making a pipe for \(executable)"
        var low: [Int32] = [-1, -1]
        guard pipe(&low) == 0 else { throw .system(what, errno) }
        defer { for end in low { close(end) } }
        var ends: [Int32] = []
        for end in low {
            let high = fcntl(end, F_DUPFD_CLOEXEC, 10)
            guard high >= 0 else {
                let problem = errno
                for end in ends { close(end) }
                throw .system(what, problem)
            }
            ends.append(high)
        }
        return ends
    }

    /// The line that the child reports once it is ready.
    /// - Returns: nil where the child ended, closed the pipe, or said nothing within the time.
    package func reportedLine(withinSeconds seconds: Double) -> String? {
        var bytes: [UInt8] = []
        let deadline = monotonicSeconds() + seconds
        while true {
            let left = deadline - monotonicSeconds()
            guard left > 0 else { return nil }
            var entry = pollfd(fd: report, events: Int16(POLLIN), revents: 0)
            let ready = poll(&entry, 1, Int32(min(left, 1) * 1000))
            if ready < 0, errno != EINTR { return nil }
            guard ready > 0 else { continue }
            var chunk = [UInt8](repeating: 0, count: 4096)
            let count = read(report, &chunk, chunk.count)
            guard count > 0 else { return nil }
            bytes += chunk[..<count]
            if let newline = bytes.firstIndex(of: 10) { return String(decoding: bytes[..<newline], as: UTF8.self) }
        }
    }

    /// How the child ended, or nil while it runs.
    package var status: ExitStatus? { ended.value?.status }

    /// When the child ended, in seconds of the monotonic clock; nil while it runs.
    package var endedAt: Double? { ended.value?.at }

    /// Waits for the child's end.
    /// - Returns: nil where it still runs after the time.
    package func wait(seconds: Double) -> ExitStatus? { ended.wait(seconds: seconds)?.status }

    /// Sends a signal to the child. Its end is no error: the signal then goes nowhere.
    package func signal(_ number: Int32) {
        if status == nil { kill(pid, number) }
    }

    /// Sends `number`, and SIGKILL where that has not helped within the time.
    /// - Returns: how the child ended.
    @discardableResult
    package func stop(signal number: Int32, withinSeconds seconds: Double) -> ExitStatus? {
        signal(number)
        if let status = wait(seconds: seconds) { return status }
        signal(SIGKILL)
        return wait(seconds: 5)
    }

    private static func reap(_ pid: Int32) -> ExitStatus {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0 {
            if errno != EINTR { return .exited(-1) }
        }
        let signal = status & 0x7F
        return signal == 0 ? .exited((status >> 8) & 0xFF) : .killed(signal: signal)
    }
}

/// The lock around ``ChildProcess/spawn(_:)``, at one stable address.
private let spawning = SpawnLock()

/// `@unchecked Sendable`: the pointer never changes, and a mutex is made to be shared.
private final class SpawnLock: @unchecked Sendable {
    let pointer = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    init() { pthread_mutex_init(pointer, nil) }
}

/// Why a process could not be started or a file of its own not be made.
package enum ProcessError: Error, Equatable, CustomStringConvertible {
    /// What was tried and the errno that came back.
    case system(String, Int32)
    /// A sentence that says what is wrong and what to do.
    case setup(String)

    package var description: String {
        switch self {
        case .system(let what, let code): "\(what) failed: \(String(cString: strerror(code)))"
        case .setup(let sentence): sentence
        }
    }
}

/// Calls `body` with a NULL-terminated array of C strings, which live as long as the call.
private func withCStrings<Result>(_ strings: [String], _ body: ([UnsafeMutablePointer<CChar>?]) -> Result) -> Result {
    let copies: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    defer { for copy in copies { free(copy) } }
    return body(copies + [nil])
}

/// Seconds of the clock that no one steps.
package func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
