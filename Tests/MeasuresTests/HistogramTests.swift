import Measures
import Testing

@Suite("histograms")
struct HistogramTests {
    @Test("a value falls under the first bound that is not below it")
    func buckets() {
        var histogram = Histogram(.init([1, 2, 5]))
        for value in [0, 1, 1.5, 2, 4.9, 5, 5.1, 1e9] { histogram.record(value) }
        #expect(histogram.counts == [2, 2, 2, 2])
        #expect(histogram.count == 8)
        #expect(histogram.sum == 19.5 + 1e9)
    }

    @Test("the bounds of this program ascend", arguments: [Histogram.Bounds.work, .requests])
    func ascending(bounds: Histogram.Bounds) {
        #expect(bounds.values == bounds.values.sorted() && Set(bounds.values).count == bounds.values.count)
        #expect(bounds.values.allSatisfy { $0 > 0 && $0.isFinite })
    }

    @Test("labels have histograms of their own up to a bound, then share one, and no value is lost")
    func bounded() {
        var family = HistogramFamily(.work, labels: ["queue", "kind"], limit: 3)
        for number in 0..<10 { family.record(Double(number), ["q\(number)", "generate"]) }
        family.record(100, ["q1", "generate"])
        #expect(family.series.count == 4)
        #expect(family.series[["q1", "generate"]]?.sum == 101)
        #expect(family.series[["_other", "_other"]]?.count == 7)
        #expect(family.series.values.reduce(0) { $0 + $1.count } == 11)
    }
}
