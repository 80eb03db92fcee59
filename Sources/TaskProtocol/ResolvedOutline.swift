internal import Encodings

/// What a pinned task's results are filed under, read from ``ResolvedTask/json`` without decoding the rest. A member that is not there is nil.
package struct ResolvedOutline: Sendable, Equatable {
    /// The name that the model was asked by.
    package var modelName: String?
    /// The checkpoint's digest.
    package var modelSHA256: String?
    /// The checkpoint's id.
    package var checkpoint: String?
    package var seed: Int64?
    /// Whether the service drew ``seed``.
    package var seedAssigned: Bool?

    /// - Parameter resolved: JSON; of what is no map nothing is known.
    package init(of resolved: [UInt8]) {
        guard let root = try? Document.parse(json: resolved).root else { return }
        let model = root["model"]
        modelName = model?["name"]?.stringValue
        modelSHA256 = model?["sha256"]?.stringValue
        checkpoint = model?["checkpoint"]?.stringValue
        seed = root["seed"]?.integerValue
        seedAssigned = root["seed_assigned"]?.boolValue
    }
}
