/// The database's time, told from the broker's monotonic clock.
///
/// Ids of tasks and generations carry the database's time, so that brokers on machines whose clocks differ still number alike. The offset is
/// measured at each beat; nothing is served before the first.
package struct DatabaseClock: Sendable {
    private var offset: Int64?

    package init() {}

    /// Whether a beat has been answered yet.
    package var isSet: Bool { offset != nil }

    /// An answer that was under way for long makes the clock look slow by so much; a clock that was set, by more.
    private static let tolerance: Int64 = 5_000

    /// Takes a reading: what the database said, and the monotonic time at which its answer came.
    /// - Returns: whether the clock may have been set back since the last reading, or before the first.
    package mutating func read(_ databaseMilliseconds: Int64, at now: Int64) -> Bool {
        let earlier = offset
        offset = databaseMilliseconds - now
        return earlier.map { databaseMilliseconds - now < $0 - Self.tolerance } ?? true
    }

    /// Milliseconds since 1970 of the database; the monotonic time itself before the first reading.
    package func milliseconds(at now: Int64) -> Int64 { now + (offset ?? 0) }
}
