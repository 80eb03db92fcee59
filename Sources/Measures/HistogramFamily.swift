/// Histograms of one thing by labels, with a bound on how many: a label that anybody may choose, such as a queue's name, must not fill
/// the memory of whoever collects the metrics.
package struct HistogramFamily: Sendable, Equatable {
    /// What labels beyond the bound are counted under; no queue, model or kind is called so.
    package static let other = "_other"

    package let bounds: Histogram.Bounds
    /// The names of the labels, in the order of the values.
    package let labels: [String]
    private let limit: Int
    /// By the labels' values.
    package private(set) var series: [[String]: Histogram] = [:]

    /// - Parameter limit: so many combinations of labels have a histogram of their own; all later ones share another.
    package init(_ bounds: Histogram.Bounds, labels: [String], limit: Int = 100) {
        self.bounds = bounds
        self.labels = labels
        self.limit = limit
    }

    /// Records a value.
    /// - Parameter values: as many as there are labels.
    package mutating func record(_ value: Double, _ values: [String]) {
        let isKnown = series[values] != nil || series.count < limit
        let key = isKnown ? values : labels.map { _ in Self.other }
        series[key, default: Histogram(bounds)].record(value)
    }
}
