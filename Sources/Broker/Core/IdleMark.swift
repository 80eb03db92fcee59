/// Whether the broker has told the database that it is idle, so that `submit()` in SQL notifies it.
///
/// NOTIFY serializes commits, so it is asked for only while there is nothing to do and somebody free to do it; the broker marks itself idle, commits,
/// looks once more (what was published in between notified nobody), and then only waits. Many notifications in a second end it: polling is cheaper.
package struct IdleMark: Sendable {
    /// What the store's row says, as far as is known.
    package enum State: Sendable, Equatable {
        /// Entered at the start and with the first work; left when there was nothing to do for a while.
        case busy
        /// The mark is being written; what follows is `idle`, after one more look.
        case marking
        /// Notifications come.
        case idle
        /// The mark is being taken away.
        case unmarking
    }

    package private(set) var state: State = .busy
    private var quietSince: Int64?
    private var notifications = 0
    private var countedSince: Int64 = 0

    package init() {}

    /// Takes what there is to do now.
    /// - Returns: the mark to be written, or nil.
    package mutating func observe(isQuiet: Bool, now: Int64, after: Int64) -> Bool? {
        if !isQuiet {
            quietSince = nil
            return nil
        }
        let since = quietSince ?? now
        quietSince = since
        guard state == .busy, now - since >= after else { return nil }
        state = .marking
        return true
    }

    /// A notification came.
    /// - Returns: false to be written where they come too often.
    package mutating func notified(now: Int64) -> Bool? {
        if now - countedSince >= 1_000 { (countedSince, notifications) = (now, 0) }
        notifications += 1
        guard state == .idle, notifications > 20 else { return nil }
        (state, quietSince) = (.unmarking, nil)
        return false
    }

    /// The store's row does not say idle: another broker took this one for dead, or its row was made anew. It is marked again when it has been quiet for a while.
    package mutating func isGone() { if state == .idle { (state, quietSince) = (.busy, nil) } }

    /// The database did not take the mark. It is tried again when it has been quiet for a while.
    package mutating func refused() { (state, quietSince) = (.busy, nil) }

    /// The mark was written.
    package mutating func written() { state = state == .marking ? .idle : .busy }
}
