package import TaskProtocol

/// Finds sessions whose counter stands still: life is counted, not timed.
///
/// A session is dead only after four whole intervals without a beat: five of this broker's own *committed* beats that saw the same counter. So
/// neither an outage of the database, nor a pause of this process, nor a clock that was set can expire anybody; and the sweep that follows repeats
/// the counter as its condition.
package struct LifeCount: Sendable {
    private struct Standing: Sendable {
        var counter: Int64
        var beats: Int
    }

    private var standing: [SessionID: Standing] = [:]

    package init() {}

    /// Takes what one committed beat saw.
    /// - Returns: the sessions that stood still for long enough. They are reported again with each further beat, until they are gone.
    package mutating func observe(_ counters: [SessionCounter], beatsUntilDead: Int) -> [DeadSession] {
        var dead: [DeadSession] = []
        var seen: [SessionID: Standing] = [:]
        seen.reserveCapacity(counters.count)
        for entry in counters {
            var state = Standing(counter: entry.counter, beats: 1)
            if let earlier = standing[entry.session], earlier.counter == entry.counter { state.beats = earlier.beats + 1 }
            if state.beats >= beatsUntilDead { dead.append(DeadSession(session: entry.session, counter: entry.counter)) }
            seen[entry.session] = state
        }
        standing = seen
        return dead
    }
}
