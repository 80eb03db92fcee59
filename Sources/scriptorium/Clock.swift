import Glibc
import TaskProtocol

/// The time of day.
enum Clock {
    /// Now, as RFC 3339 in UTC.
    static func now() -> String { Timestamp.text(milliseconds: milliseconds()) }

    /// Now, in milliseconds since 1970.
    static func milliseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }
}
