import Glibc

/// A progress bar on standard error, on a terminal only; elsewhere it writes nothing.
///
///     ████████████░░░░░░░░░░░░  48 %  720/1500  training  loss 3.21  00:19 left
struct ProgressBar {
    private let total: Int
    private let label: String
    private let isTerminal: Bool
    private let started: Double
    private var drawnAt = -1.0

    /// - Parameters:
    ///   - total: how many units of work there are; 0 where nobody knows.
    ///   - label: what is being done, in a word or two.
    init(total: Int, label: String) {
        self.total = total
        self.label = label
        isTerminal = isatty(STDERR_FILENO) == 1
        started = Self.now()
    }

    /// Shows how far the work is; redraws at most ten times a second.
    mutating func update(_ done: Int, note: String = "") {
        let now = Self.now()
        guard isTerminal, now - drawnAt > 0.1 || done >= total else { return }
        drawnAt = now
        write(Self.line(done: done, total: total, label: label, note: note, elapsed: now - started, width: Self.terminalWidth()))
    }

    /// Removes the bar, so that what follows starts on a clean line.
    mutating func finish() {
        if isTerminal, drawnAt >= 0 { write("") }
        drawnAt = -1
    }

    /// The text of the bar, cut to the terminal's width.
    static func line(done: Int, total: Int, label: String, note: String, elapsed: Double, width: Int) -> String {
        guard total > 0 else { return String("\(done)  \(label)  \(note)".prefix(width - 1)) }
        let share = min(1, Double(done) / Double(total))
        let filled = Int(share * 24)
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: 24 - filled)
        var parts = [bar, "\(Int(share * 100)) %", "\(done)/\(total)", label]
        if !note.isEmpty { parts.append(note) }
        if share > 0.02, share < 1 { parts.append(clock(elapsed / share - elapsed) + " left") }
        return String(parts.joined(separator: "  ").prefix(width - 1))
    }

    private static func clock(_ seconds: Double) -> String {
        let whole = Int(seconds.rounded())
        let digits = { (value: Int) in value < 10 ? "0\(value)" : "\(value)" }
        return "\(digits(whole / 60)):\(digits(whole % 60))"
    }

    private func write(_ text: String) {
        let bytes = Array(("\r" + text + "\u{1B}[K").utf8)
        _ = Glibc.write(STDERR_FILENO, bytes, bytes.count)
    }

    private static func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static func terminalWidth() -> Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 20 else { return 80 }
        return Int(size.ws_col)
    }
}
