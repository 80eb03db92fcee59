/// The exponential average of the loss that a person watches: `smoothing · newest + (1 − smoothing) · before`, in double.
package struct RunningAverage: Sendable, Equatable {
    /// The weight of the newest value.
    package let smoothing: Double
    /// Nil before the first value, which it then equals.
    package private(set) var value: Double?

    package init(smoothing: Double, value: Double? = nil) {
        self.smoothing = smoothing
        self.value = value
    }

    /// Takes in a value and gives the average after it.
    package mutating func add(_ newest: Double) -> Double {
        let result = value.map { smoothing * newest + (1 - smoothing) * $0 } ?? newest
        value = result
        return result
    }
}
