import Measures
import Operations
import Testing

@Suite("Histograms as Prometheus wants them")
struct HistogramFamilyTests {
    @Test("buckets are cumulative, end in +Inf, and are followed by sum and count; series come in order")
    func page() {
        var waits = HistogramFamily(.init([0.5, 1]), labels: ["queue"])
        for value in [0.25, 0.75, 0.75, 9] { waits.record(value, ["b"]) }
        waits.record(1, ["a"])
        #expect(
            PrometheusText.render([MetricFamily("w_seconds", help: "Waits.", waits)]) == """
                # HELP w_seconds Waits.
                # TYPE w_seconds histogram
                w_seconds_bucket{queue="a",le="0.5"} 0
                w_seconds_bucket{queue="a",le="1"} 1
                w_seconds_bucket{queue="a",le="+Inf"} 1
                w_seconds_sum{queue="a"} 1
                w_seconds_count{queue="a"} 1
                w_seconds_bucket{queue="b",le="0.5"} 1
                w_seconds_bucket{queue="b",le="1"} 3
                w_seconds_bucket{queue="b",le="+Inf"} 4
                w_seconds_sum{queue="b"} 10.75
                w_seconds_count{queue="b"} 4

                """)
    }

    @Test("a family of nothing has its help and type")
    func empty() {
        let page = PrometheusText.render([MetricFamily("w_seconds", help: "Waits.", HistogramFamily(.requests, labels: ["queue"]))])
        #expect(page == "# HELP w_seconds Waits.\n# TYPE w_seconds histogram\n")
    }
}
