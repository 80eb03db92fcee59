internal import CoreMetrics
import Synchronization

/// The swift-metrics backend of a Scriptorium process: keeps every counter, gauge, recorder and timer, and hands them to the `/metrics` page.
///
/// Timers become histograms in seconds (swift-metrics counts nanoseconds), recorders that aggregate become histograms of their own unit.
/// Labels in their order of declaration are dimensions. Names are those that were given, with `.` and `-` turned into `_`.
package final class MetricsRegistry: Sendable {
    private struct Key: Hashable {
        let name: String
        let labels: [String]
    }

    private struct State {
        var counters: [Key: CounterCell] = [:]
        var gauges: [Key: GaugeCell] = [:]
        var histograms: [Key: HistogramCell] = [:]
        var labels: [Key: [(name: String, value: String)]] = [:]
    }

    private let state = Mutex(State())

    package init() {}

    /// Makes this registry the process's swift-metrics backend. May be called once a process.
    package func bootstrap() { MetricsSystem.bootstrap(RegistryFactory(registry: self)) }

    /// What is known now, a family a name.
    package func families() -> [MetricFamily] {
        state.withLock { state in
            var families: [String: MetricFamily] = [:]
            for (key, cell) in state.counters {
                add(.init(cell.value, labels: state.labels[key] ?? []), to: &families, key.name, .counter)
            }
            for (key, cell) in state.gauges {
                add(.init(cell.value, labels: state.labels[key] ?? []), to: &families, key.name, .gauge)
            }
            for (key, cell) in state.histograms {
                for sample in cell.samples(labels: state.labels[key] ?? []) { add(sample, to: &families, key.name, .histogram) }
            }
            return families.values.sorted { $0.name < $1.name }
        }
    }

    private func add(_ sample: MetricFamily.Sample, to families: inout [String: MetricFamily], _ name: String, _ kind: MetricFamily.Kind) {
        families[name, default: MetricFamily(name, kind, help: "Recorded by the \(name) instrument.", samples: [])].samples.append(sample)
    }

    private func cell<Cell>(
        _ path: any WritableKeyPath<State, [Key: Cell]> & Sendable, _ name: String, _ dimensions: [(String, String)], make: @Sendable () -> Cell
    ) -> Cell where Cell: Sendable {
        let key = Key(name: Self.metricName(name), labels: dimensions.flatMap { [$0.0, $0.1] })
        return state.withLock { state in
            if let known = state[keyPath: path][key] { return known }
            let new = make()
            state[keyPath: path][key] = new
            state.labels[key] = dimensions.map { (name: Self.metricName($0.0), value: $0.1) }
            return new
        }
    }

    private static func metricName(_ name: String) -> String {
        String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || $0 == ":") ? $0 : "_" })
    }

    /// The swift-metrics face of the registry.
    private struct RegistryFactory: MetricsFactory {
        let registry: MetricsRegistry

        func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
            registry.cell(\.counters, label, dimensions) { CounterCell() }
        }

        func makeFloatingPointCounter(label: String, dimensions: [(String, String)]) -> any FloatingPointCounterHandler {
            registry.cell(\.counters, label, dimensions) { CounterCell() }
        }

        func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
            registry.cell(\.gauges, label, dimensions) { GaugeCell() }
        }

        func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
            if aggregate { return registry.cell(\.histograms, label, dimensions) { HistogramCell() } }
            return registry.cell(\.gauges, label, dimensions) { GaugeCell() }
        }

        func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
            registry.cell(\.histograms, label, dimensions) { HistogramCell() }
        }

        func destroyCounter(_ handler: any CounterHandler) {}
        func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) {}
        func destroyMeter(_ handler: any MeterHandler) {}
        func destroyRecorder(_ handler: any RecorderHandler) {}
        func destroyTimer(_ handler: any TimerHandler) {}
    }
}
