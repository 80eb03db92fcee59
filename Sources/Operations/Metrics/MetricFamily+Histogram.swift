package import Measures

extension MetricFamily {
    /// A family of histograms, a series a combination of labels, in an order that does not depend on hashing.
    package init(_ name: String, help: String, _ family: HistogramFamily) {
        let samples = family.series.sorted { $0.key.lexicographicallyPrecedes($1.key) }.flatMap { values, histogram in
            histogram.samples(labels: zip(family.labels, values).map { (name: $0, value: $1) })
        }
        self.init(name, .histogram, help: help, samples: samples)
    }
}

extension Histogram {
    /// The cumulative buckets, the sum and the count, in the order in which Prometheus wants them.
    func samples(labels: [(name: String, value: String)]) -> [MetricFamily.Sample] {
        var samples: [MetricFamily.Sample] = []
        var running = 0
        for (count, bound) in zip(counts, bounds.values.map(PrometheusText.number) + ["+Inf"]) {
            running += count
            samples.append(.init(Double(running), labels: labels + [(name: "le", value: bound)], suffix: "_bucket"))
        }
        samples.append(.init(sum, labels: labels, suffix: "_sum"))
        samples.append(.init(Double(running), labels: labels, suffix: "_count"))
        return samples
    }
}
