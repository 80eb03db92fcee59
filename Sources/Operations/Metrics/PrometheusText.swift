/// Renders metric families in the Prometheus text format 0.0.4.
///
/// Source: prometheus.io, "Exposition formats", text-based format. Families are sorted by name, so that equal states give equal pages.
package enum PrometheusText {
    /// The content type that a scraper of format 0.0.4 expects.
    package static let contentType = "text/plain; version=0.0.4; charset=utf-8"

    /// The whole page. Families of one name are merged under the first one's help and kind.
    package static func render(_ families: [MetricFamily]) -> String {
        var merged: [String: MetricFamily] = [:]
        for family in families {
            if merged[family.name] == nil { merged[family.name] = family } else { merged[family.name]?.samples += family.samples }
        }
        var page = ""
        for name in merged.keys.sorted() {
            guard let family = merged[name] else { continue }
            page += "# HELP \(name) \(escaped(family.help))\n# TYPE \(name) \(family.kind.rawValue)\n"
            for sample in family.samples {
                page += name + sample.suffix + labels(sample.labels) + " " + number(sample.value) + "\n"
            }
        }
        return page
    }

    /// A value as the format spells it: integers without a fraction, `+Inf`, `-Inf`, `NaN`.
    package static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value < 0 ? "-Inf" : "+Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return "\(value)"
    }

    private static func labels(_ labels: [(name: String, value: String)]) -> String {
        if labels.isEmpty { return "" }
        return "{" + labels.map { "\($0.name)=\"\(escaped($0.value, quotes: true))\"" }.joined(separator: ",") + "}"
    }

    private static func escaped(_ text: String, quotes: Bool = false) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "\\": result += "\\\\"
            case "\"" where quotes: result += "\\\""
            case "\n": result += "\\n"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
