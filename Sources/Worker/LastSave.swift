import TaskProtocol

/// When the last state of a finetune is tried to be saved again: after 1, 2, 4 … 30 s, and no more after five minutes.
///
/// A worker that waits serves nobody, and the next attempt has at most the steps since the last save to make again: that bounds the wait.
struct LastSave {
    static let patience: Milliseconds = 300_000
    private static let longestPause: Milliseconds = 30_000

    /// A try from then on is the last.
    let until: Milliseconds
    /// Nil until it is first asked about: the try before it may have taken longer than the pause.
    var notBefore: Milliseconds?
    private var pause: Milliseconds = 1_000

    init(until: Milliseconds) { self.until = until }

    mutating func isDue(now: Milliseconds) -> Bool {
        if let notBefore { return now >= notBefore }
        notBefore = now + pause
        pause = min(2 * pause, Self.longestPause)
        return false
    }
}
