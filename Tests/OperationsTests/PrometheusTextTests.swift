import Operations
import Testing

@Suite("Prometheus text")
struct PrometheusTextTests {
    @Test("families are sorted by name and each says its help and type once")
    func order() {
        let page = PrometheusText.render([
            MetricFamily("b_total", .counter, help: "Second.", value: 2),
            MetricFamily("a", .gauge, help: "First.", value: 0.5),
            MetricFamily("b_total", .counter, help: "Second.", samples: [.init(3, labels: [(name: "kind", value: "generate")])]),
        ])
        #expect(
            page == """
                # HELP a First.
                # TYPE a gauge
                a 0.5
                # HELP b_total Second.
                # TYPE b_total counter
                b_total 2
                b_total{kind="generate"} 3

                """)
    }

    @Test("label values and help texts are escaped")
    func escapes() {
        let page = PrometheusText.render([
            MetricFamily("m", .gauge, help: "a\\b\nc", samples: [.init(1, labels: [(name: "model", value: "say \"hi\"\n\\")])])
        ])
        #expect(page.contains("# HELP m a\\\\b\\nc\n"))
        #expect(page.contains(#"m{model="say \"hi\"\n\\"} 1"#))
    }

    @Test("numbers are spelt as the format wants them", arguments: [(1.0, "1"), (0.25, "0.25"), (-3, "-3"), (1e20, "1e+20")])
    func numbers(value: Double, text: String) { #expect(PrometheusText.number(value) == text) }

    @Test("what is not finite has a name of its own")
    func notFinite() {
        #expect(PrometheusText.number(.infinity) == "+Inf")
        #expect(PrometheusText.number(-.infinity) == "-Inf")
        #expect(PrometheusText.number(.nan) == "NaN")
    }
}
