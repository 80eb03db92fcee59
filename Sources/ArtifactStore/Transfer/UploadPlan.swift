/// One artifact on its way in, part after part: what is sent next, and from where it goes on when a link broke. Pure: time is a parameter.
///
/// It begins by asking how much is there. Then up to a window of parts is under way; every answer says how much is there after it, so a part that did
/// not follow on what was there (something before it was lost) shows at once, and sending goes on from what the answer says.
package struct UploadPlan: Sendable {
    /// What is to be done now.
    package enum Step: Sendable, Equatable {
        /// Ask how much is there.
        case ask(number: Int64)
        case send(number: Int64, offset: Int64, count: Int)
        /// Nothing until an answer comes, or this time.
        case wait(until: Int64?)
        case done
        /// Answers come, but what is there does not grow.
        case stuck
    }

    private struct Part: Sendable {
        let number: Int64
        /// Bytes there once it is written; nil: it only asks.
        let end: Int64?
        let sentAt: Int64
        /// Whatever is answered counts for nothing, but until then it takes its place in the window.
        var isVoid = false
    }

    package let size: Int64
    package private(set) var pace: TransferPace
    /// Bytes known to be there; nil: to be asked.
    private var confirmed: Int64?
    private var nextOffset: Int64 = 0
    private var underWay: [Part] = []
    private var lastNumber: Int64
    private var pausedUntil: Int64?
    private var best: Int64 = 0
    private var setbacks = 0
    private static let mostSetbacks = 20
    /// Whether it went on from bytes that were sent another time: where the digest then does not match, those may be to blame.
    package private(set) var isResumed = false

    /// - Parameter number: the last number that was used on this link.
    package init(size: Int64, pace: TransferPace = TransferPace(), after number: Int64 = 0) {
        self.size = size
        self.pace = pace
        lastNumber = number
    }

    /// Bytes known to be there.
    package var bytesDone: Int64 { confirmed ?? best }
    package var isDone: Bool { confirmed == size }

    package mutating func next(now: Int64) -> Step {
        if isDone { return .done }
        if setbacks > Self.mostSetbacks { return .stuck }
        if let until = pausedUntil {
            if now < until { return .wait(until: until) }
            pausedUntil = nil
        }
        guard confirmed != nil else {
            guard underWay.isEmpty else { return .wait(until: nil) }
            return .ask(number: begin(end: nil, now: now))
        }
        guard underWay.count < pace.window, nextOffset < size else { return .wait(until: nil) }
        let offset = nextOffset
        let count = Int(min(Int64(pace.partBytes), size - offset))
        nextOffset += Int64(count)
        return .send(number: begin(end: nextOffset, now: now), offset: offset, count: count)
    }

    private mutating func begin(end: Int64?, now: Int64) -> Int64 {
        lastNumber += 1
        underWay.append(Part(number: lastNumber, end: end, sentAt: now))
        return lastNumber
    }

    /// So much is there. Answers to what is no longer under way are ignored.
    package mutating func answered(_ number: Int64, have: Int64, now: Int64) {
        guard let index = underWay.firstIndex(where: { $0.number == number }) else { return }
        let part = underWay.remove(at: index)
        guard !part.isVoid else { return }
        pace.answered(afterMilliseconds: now - part.sentAt)
        if have > best {
            best = have
            setbacks = 0
        }
        guard let end = part.end else {
            confirmed = have
            nextOffset = have
            isResumed = isResumed || (have > 0 && have < size)
            return
        }
        confirmed = have
        if have >= end {
            nextOffset = max(nextOffset, have)
        } else {
            // A part before it is missing there: all that follows is in vain.
            setbacks += 1
            for index in underWay.indices { underWay[index].isVoid = true }
            nextOffset = have
        }
    }

    /// The link broke, or the answer was that it should be tried later: nothing that is under way counts, and it is asked anew.
    package mutating func lost(pauseUntil time: Int64? = nil) {
        underWay = []
        confirmed = nil
        pausedUntil = time
        pace.lost()
    }

    /// Whether an answer under this number is still waited for.
    package func awaits(_ number: Int64) -> Bool { underWay.contains { $0.number == number && !$0.isVoid } }
}
