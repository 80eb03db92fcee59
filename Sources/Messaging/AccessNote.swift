/// What the authenticator has to tell whoever keeps the log.
package enum AccessNote: Sendable, Equatable {
    /// A peer was not let in. `unsaid`: so many notes of refusals were held back since the last one.
    case refused(key: CurvePublicKey?, address: String, domain: String, why: AccessRefusal, unsaid: Int)
    /// A peer could not even show a key: it spoke without CURVE, or to another server key.
    case handshakeFailed(domain: String, why: HandshakeFailure, unsaid: Int)
    /// A changed list is in force.
    case listTaken(path: String, keys: Int)
    /// A list could not be taken: the last good one stays in force.
    case listKept(KeyFileError)
}

/// Holds back what would fill the log: a refused peer tries again ten times a second.
///
/// Each cause is told once in half a minute, and of all causes together at most so many, so that strangers with ever new keys cannot flood it.
package struct NoteLimiter: Sendable {
    private let pause: Int64
    private let burst: Int
    private var lastTold: [String: Int64] = [:]
    private var windowStart: Int64 = 0
    private var toldInWindow = 0
    private var unsaid = 0

    /// - Parameters:
    ///   - pause: milliseconds in which one cause is told once.
    ///   - burst: notes of all causes in that time.
    package init(pause: Int64 = 30_000, burst: Int = 50) {
        self.pause = pause
        self.burst = burst
    }

    /// - Parameters:
    ///   - cause: what makes two notes the same.
    ///   - now: monotonic milliseconds.
    /// - Returns: how many notes were held back since the last one told; nil where this one is held back too.
    package mutating func admit(_ cause: String, now: Int64) -> Int? {
        if now - windowStart >= pause {
            windowStart = now
            toldInWindow = 0
            lastTold = lastTold.filter { now - $0.value < pause }
        }
        guard toldInWindow < burst, lastTold[cause].map({ now - $0 >= pause }) ?? true else {
            unsaid += 1
            return nil
        }
        lastTold[cause] = now
        toldInWindow += 1
        defer { unsaid = 0 }
        return unsaid
    }
}
