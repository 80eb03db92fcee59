/// The database's time, told from the broker's monotonic clock.
///
/// Ids of tasks and generations carry the database's time, so that brokers on machines whose clocks differ still number alike. The offset is
/// measured at each beat; nothing is served before the first.
struct DatabaseClock: Sendable {
    private var offset: Int64?

    /// Whether a beat has been answered yet.
    var isSet: Bool { offset != nil }

    /// Takes a reading: what the database said, and the monotonic time at which its answer came.
    mutating func read(_ databaseMilliseconds: Int64, at now: Int64) { offset = databaseMilliseconds - now }

    /// Milliseconds since 1970 of the database; the monotonic time itself before the first reading.
    func milliseconds(at now: Int64) -> Int64 { now + (offset ?? 0) }
}
