internal import CoreMetrics
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

/// A histogram with buckets from a half millisecond to ten minutes, which suit both queue waits and training steps.
final class HistogramCell: RecorderHandler, TimerHandler {
    /// Upper bounds, inclusive, ascending; `+Inf` follows by itself.
    static let bounds: [Double] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

    private struct State {
        var counts = [UInt64](repeating: 0, count: HistogramCell.bounds.count + 1)
        var sum = 0.0
    }

    private let state = Mutex(State())

    func record(_ value: Double) {
        let place = Self.bounds.firstIndex { value <= $0 } ?? Self.bounds.count
        state.withLock {
            $0.counts[place] += 1
            $0.sum += value
        }
    }

    func record(_ value: Int64) { record(Double(value)) }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }

    /// The cumulative buckets, the sum and the count, in the order in which Prometheus wants them.
    func samples(labels: [(name: String, value: String)]) -> [MetricFamily.Sample] {
        let (counts, sum) = state.withLock { ($0.counts, $0.sum) }
        var result: [MetricFamily.Sample] = []
        var running: UInt64 = 0
        for (place, count) in counts.enumerated() {
            running += count
            let bound = place < Self.bounds.count ? PrometheusText.number(Self.bounds[place]) : "+Inf"
            result.append(.init(Double(running), labels: labels + [(name: "le", value: bound)], suffix: "_bucket"))
        }
        result.append(.init(sum, labels: labels, suffix: "_sum"))
        result.append(.init(Double(running), labels: labels, suffix: "_count"))
        return result
    }
}
