package import TaskProtocol

/// A model that a worker is to hold before it calls itself ready: `--preload MODEL`.
///
///     PreloadRequest("demo@500")       // as a task's `model` spells it
///     PreloadRequest("demo/int8")      // in another precision than float32, as brokers spell what a worker holds
package struct PreloadRequest: Sendable, Equatable, CustomStringConvertible {
    /// As a task's `model` spells it; what it means is asked of a broker.
    package let model: String
    /// What the matrices are rounded to: tasks of another precision have a model of their own.
    package let precision: Precision

    package init(model: String, precision: Precision = .float32) {
        self.model = model
        self.precision = precision
    }

    /// - Returns: nil where the text is neither a name, `name@step`, a checkpoint's id nor `sha256:` and a digest, or names no precision behind its slash.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        guard let model = parts.first, ModelReference(model) != nil else { return nil }
        guard let precision = parts.count == 1 ? .float32 : Precision(rawValue: parts[1]) else { return nil }
        self.init(model: model, precision: precision)
    }

    package var description: String { precision == .float32 ? model : "\(model)/\(precision.rawValue)" }
}

/// A preload that is handed to the engine: which model it is stands fast.
package struct Preload: Sendable, Equatable {
    /// Its place among the worker's ``WorkerCore/Settings/preloads``; reports repeat it.
    package let number: Int
    package let model: ResolvedModel
    package let precision: Precision

    package init(number: Int, model: ResolvedModel, precision: Precision) {
        self.number = number
        self.model = model
        self.precision = precision
    }
}
