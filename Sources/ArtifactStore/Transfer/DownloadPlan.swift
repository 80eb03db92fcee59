/// One artifact on its way out, part after part: what is asked next, and what is taken of what comes. Pure: time is a parameter.
///
/// Parts are taken in order only, as their digest is; when a link broke it goes on, over another, from what was taken.
package struct DownloadPlan: Sendable {
    /// What is to be done now.
    package enum Step: Sendable, Equatable {
        case fetch(number: Int64, offset: Int64, length: Int)
        /// Nothing until an answer comes, or this time.
        case wait(until: Int64?)
        case done
    }

    /// What becomes of a part that came.
    package enum Verdict: Sendable, Equatable {
        /// It is the next one.
        case take
        /// It belongs to what was given up.
        case ignore
        /// It contradicts what came before.
        case broken
    }

    private struct Part: Sendable {
        let number: Int64
        let offset: Int64
        let length: Int
        let sentAt: Int64
        /// Whatever is answered counts for nothing, but until then it takes its place in the window.
        var isVoid = false
    }

    package private(set) var pace: TransferPace
    /// The size of the whole, once anything came.
    package private(set) var size: Int64?
    package private(set) var bytesDone: Int64 = 0
    private var nextOffset: Int64 = 0
    private var underWay: [Part] = []
    private var lastNumber: Int64
    private var pausedUntil: Int64?

    /// - Parameter number: the last number that was used on this link.
    package init(pace: TransferPace = TransferPace(), after number: Int64 = 0) {
        self.pace = pace
        lastNumber = number
    }

    package var isDone: Bool { size == bytesDone }

    package mutating func next(now: Int64) -> Step {
        if isDone { return .done }
        if let until = pausedUntil {
            if now < until { return .wait(until: until) }
            pausedUntil = nil
        }
        // How much there is only the first answer says.
        guard underWay.count < (size == nil ? 1 : pace.window), nextOffset < size ?? .max else { return .wait(until: nil) }
        let length = Int(min(Int64(pace.partBytes), (size ?? .max) - nextOffset))
        lastNumber += 1
        underWay.append(Part(number: lastNumber, offset: nextOffset, length: length, sentAt: now))
        defer { nextOffset += Int64(length) }
        return .fetch(number: lastNumber, offset: nextOffset, length: length)
    }

    /// Bytes came.
    /// - Parameters:
    ///   - count: how many.
    ///   - whole: the size of the artifact.
    package mutating func received(_ number: Int64, count: Int, of whole: Int64, now: Int64) -> Verdict {
        guard let index = underWay.firstIndex(where: { $0.number == number }) else { return .ignore }
        let part = underWay.remove(at: index)
        guard !part.isVoid else { return .ignore }
        pace.answered(afterMilliseconds: now - part.sentAt)
        guard size == nil || size == whole, count <= part.length, part.offset + Int64(count) <= whole else { return .broken }
        size = whole
        guard part.offset == bytesDone else {
            restart()
            return .ignore
        }
        guard count > 0 || whole == bytesDone else { return .broken }
        bytesDone += Int64(count)
        // Fewer than asked for: what was asked for behind them leaves a gap.
        if count < part.length || nextOffset > whole { restart() }
        return .take
    }

    private mutating func restart() {
        for index in underWay.indices { underWay[index].isVoid = true }
        nextOffset = bytesDone
    }

    /// The link broke, or the answer was that it should be tried later.
    package mutating func lost(pauseUntil time: Int64? = nil) {
        underWay = []
        nextOffset = bytesDone
        pausedUntil = time
        pace.lost()
    }

    /// Whether an answer under this number is still waited for.
    package func awaits(_ number: Int64) -> Bool { underWay.contains { $0.number == number && !$0.isVoid } }
}
