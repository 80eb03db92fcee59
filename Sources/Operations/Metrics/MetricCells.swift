internal import CoreMetrics
internal import Measures
import Synchronization

/// A counter's value. Counters only rise; `reset` starts them anew, as swift-metrics asks for.
final class CounterCell: CounterHandler, FloatingPointCounterHandler {
    private let total = Mutex(0.0)

    var value: Double { total.withLock { $0 } }

    func increment(by amount: Int64) { total.withLock { $0 += Double(amount) } }
    func increment(by amount: Double) { total.withLock { $0 += amount } }
    func reset() { total.withLock { $0 = 0 } }
}

/// A gauge's value: the last one set.
final class GaugeCell: MeterHandler, RecorderHandler {
    private let current = Mutex(0.0)

    var value: Double { current.withLock { $0 } }

    func set(_ value: Int64) { current.withLock { $0 = Double(value) } }
    func set(_ value: Double) { current.withLock { $0 = value } }
    func increment(by amount: Double) { current.withLock { $0 += amount } }
    func decrement(by amount: Double) { current.withLock { $0 -= amount } }
    func record(_ value: Int64) { set(value) }
    func record(_ value: Double) { set(value) }
}

/// A histogram with bounds that suit both transactions and training steps.
final class HistogramCell: RecorderHandler, TimerHandler {
    private let state = Mutex(Histogram(.work))

    func record(_ value: Double) { state.withLock { $0.record(value) } }

    func record(_ value: Int64) { record(Double(value)) }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    /// The cumulative buckets, the sum and the count, in the order in which Prometheus wants them.
    func samples(labels: [(name: String, value: String)]) -> [MetricFamily.Sample] {
        state.withLock { $0 }.samples(labels: labels)
    }
}
