/// How often a measured value fell under each of some bounds: a plain value, so that state machines can keep it and tests compare it.
///
/// The bounds are Prometheus's `le`: upper, inclusive, ascending; one more bucket takes what is above the last.
package struct Histogram: Sendable, Equatable {
    /// Bounds of one kind of value.
    package struct Bounds: Sendable, Equatable {
        package let values: [Double]

        /// - Parameter values: ascending and finite.
        package init(_ values: [Double]) { self.values = values }

        /// Seconds of work within a process or a transaction: half a millisecond to ten minutes.
        package static let work = Bounds([0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600])

        /// Seconds of a request's waiting and running: the bounds of vLLM's request histograms (up to 7680 s), with finer ones below, as an idle
        /// queue answers in milliseconds.
        package static let requests = Bounds([
            0.005, 0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
        ])
    }

    package let bounds: Bounds
    /// One count a bound, and one for what is above them all.
    package private(set) var counts: [Int]
    package private(set) var sum = 0.0

    package init(_ bounds: Bounds) {
        self.bounds = bounds
        counts = Array(repeating: 0, count: bounds.values.count + 1)
    }

    /// How many values were recorded.
    package var count: Int { counts.reduce(0, +) }

    package mutating func record(_ value: Double) {
        counts[bounds.values.firstIndex { value <= $0 } ?? bounds.values.count] += 1
        sum += value
    }
}
