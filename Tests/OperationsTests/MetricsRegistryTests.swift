import CoreMetrics
import Operations
import Testing

@Suite("The metrics registry", .serialized)
struct MetricsRegistryTests {
    /// swift-metrics takes one backend a process.
    private static let registry: MetricsRegistry = {
        let registry = MetricsRegistry()
        registry.bootstrap()
        return registry
    }()

    @Test("counters with labels become samples of one family")
    func counters() throws {
        let registry = Self.registry
        Counter(label: "test.counted", dimensions: [("kind", "generate")]).increment(by: 2)
        Counter(label: "test.counted", dimensions: [("kind", "finetune")]).increment()
        Counter(label: "test.counted", dimensions: [("kind", "generate")]).increment()
        let family = try #require(registry.families().first { $0.name == "test_counted" })
        #expect(family.kind == .counter)
        let byKind = Dictionary(uniqueKeysWithValues: family.samples.map { ($0.labels[0].value, $0.value) })
        #expect(byKind == ["generate": 3, "finetune": 1])
    }

    @Test("timers are histograms in seconds with cumulative buckets")
    func timers() throws {
        let registry = Self.registry
        let timer = CoreMetrics.Timer(label: "test_seconds")
        timer.recordNanoseconds(2_000_000)
        timer.recordNanoseconds(3_000_000_000)
        let family = try #require(registry.families().first { $0.name == "test_seconds" })
        #expect(family.kind == .histogram)
        func bucket(_ bound: String) -> Double? { family.samples.first { $0.suffix == "_bucket" && $0.labels.last?.value == bound }?.value }
        #expect(bucket("0.001") == 0)
        #expect(bucket("0.0025") == 1)
        #expect(bucket("5") == 2)
        #expect(bucket("+Inf") == 2)
        #expect(family.samples.first { $0.suffix == "_sum" }?.value == 3.002)
        #expect(family.samples.first { $0.suffix == "_count" }?.value == 2)
    }

    @Test("a gauge shows its last value")
    func gauges() throws {
        let registry = Self.registry
        Gauge(label: "test_gauge").record(4)
        Gauge(label: "test_gauge").record(1.5)
        #expect(registry.families().first { $0.name == "test_gauge" }?.samples.map(\.value) == [1.5])
    }
}
