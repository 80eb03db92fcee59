internal import Encodings

/// What placing a pinned task has to know of it, read without decoding the rest: claims look at many more tasks than they lease.
package struct PlacementNeeds: Sendable, Equatable {
    /// Digest of the checkpoint it runs on.
    package var model: String?
    /// What a generate's model is rounded to, or that of a verify's texts.
    package var precision: Precision
    /// Names of its parameters, but for those that every offer knows.
    package var parameters: Set<String>

    package init(model: String?, precision: Precision, parameters: Set<String>) {
        self.model = model
        self.precision = precision
        self.parameters = parameters
    }

    /// Reads the map that a worker is given (``ResolvedTask/json``).
    ///
    /// What is no such map needs nothing: the worker that gets it says what is wrong.
    /// - Parameters:
    ///   - resolved: JSON.
    ///   - kind: the task's.
    ///   - known: names that need not be told (``Placement/knownToAll(_:)``); nil where nobody said what is known, and none need be.
    /// - Returns: nil for a precision of a later release.
    package init?(of resolved: [UInt8], kind: TaskKind, known: Set<String>?) {
        (model, precision, parameters) = (nil, .float32, [])
        guard let root = try? Document.parse(json: resolved).root else { return }
        model = root["model"]?["sha256"]?.stringValue
        if kind == .verify { precision = Self.precision(ofTexts: root["texts"]) }
        guard let params = root["params"] else { return }
        if kind == .generate, let name = params["precision"]?.stringValue {
            guard let precision = Precision(rawValue: name) else { return nil }
            self.precision = precision
        }
        guard let known else { return }
        params.forEachMember { name, _ in
            if let name = name.stringValue, !known.contains(name) { parameters.insert(name) }
        }
    }

    /// The precision that texts were made in: they are of one task, so the first one's record tells. A worker takes what it does not know for float32.
    private static func precision(ofTexts texts: Node?) -> Precision {
        var first: Node?
        texts?.forEachElement { if first == nil { first = $0 } }
        return first?["proof"]?["precision"]?.stringValue.flatMap(Precision.init(rawValue:)) ?? .float32
    }

    /// Its model as workers announce it.
    package var modelKey: String? { model.map(precision.modelKey) }
}
