/// One metric family of a Prometheus page: a name, its help text, its kind and its samples.
///
/// Names follow the Prometheus conventions: base units (`_seconds`, `_bytes`), counters end in `_total`.
package struct MetricFamily: Sendable, Equatable {
    /// What a family's `# TYPE` line says.
    package enum Kind: String, Sendable {
        case counter, gauge, histogram
    }

    /// One line of a family: a suffix (`_bucket`, `_sum`, `_count` or none), labels in the order given, and a value.
    package struct Sample: Sendable, Equatable {
        /// What is appended to the family's name.
        package var suffix: String
        /// Label names and values; values may hold any text, they are escaped when rendered.
        package var labels: [(name: String, value: String)]
        /// The value; NaN and infinities are rendered as Prometheus spells them.
        package var value: Double

        package init(_ value: Double, labels: [(name: String, value: String)] = [], suffix: String = "") {
            self.value = value
            self.labels = labels
            self.suffix = suffix
        }

        package static func == (left: Sample, right: Sample) -> Bool {
            left.suffix == right.suffix && left.value == right.value && left.labels.elementsEqual(right.labels) { $0 == $1 }
        }
    }

    /// The full name, e.g. `scriptorium_queue_depth`.
    package var name: String
    /// One sentence for the `# HELP` line.
    package var help: String
    /// The `# TYPE` of the family.
    package var kind: Kind
    /// All lines, rendered in this order.
    package var samples: [Sample]

    package init(_ name: String, _ kind: Kind, help: String, samples: [Sample]) {
        self.name = name
        self.kind = kind
        self.help = help
        self.samples = samples
    }

    /// A family with one sample and no labels.
    package init(_ name: String, _ kind: Kind, help: String, value: Double) {
        self.init(name, kind, help: help, samples: [Sample(value)])
    }
}
