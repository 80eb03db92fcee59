package import Encodings

/// One task as a client submits it: checked, but with no name resolved and no seed assigned.
package struct TaskSubmission: Sendable, Equatable {
    package var parameters: TaskParameters
    package var queue = "default"
    /// -100 … 100, higher first.
    package var priority = 0
    /// The idempotency key.
    package var key: String?
    /// Not before this time, milliseconds since 1970.
    package var runAt: Int64?
    /// Bounds one attempt from its start.
    package var timeoutSeconds: Double?
    /// Bounds *failed* attempts.
    package var maxAttempts = 3
    /// Tasks that must have succeeded first.
    package var after: [TaskID] = []
    /// Strings by name.
    package var tags = JSONObject()
    /// Canonical JSON of `params` as submitted, before seed and defaults (members that are null left out).
    package var submittedParams: [UInt8]
    /// SHA-256 of kind and ``submittedParams``: what two submits under one key must agree in.
    package var paramsDigest: [UInt8]

    /// - Parameter submittedParams: canonical JSON of the params as they came.
    package init(parameters: TaskParameters, submittedParams: [UInt8]) {
        self.parameters = parameters
        self.submittedParams = submittedParams
        paramsDigest = Self.digest(kind: parameters.kind, canonicalParams: submittedParams)
    }

    /// What the task does.
    package var kind: TaskKind { parameters.kind }

    /// ``tags`` as JSON text.
    package var tagsJSON: [UInt8] { JSONValue.object(tags).serialised }

    /// The digest that tells one submission from another under the same key.
    package static func digest(kind: TaskKind, canonicalParams: [UInt8]) -> [UInt8] {
        SHA256Digest.digest(of: Array("{\"kind\":\"\(kind.rawValue)\",\"params\":".utf8) + canonicalParams + [UInt8(ascii: "}")])
    }
}
