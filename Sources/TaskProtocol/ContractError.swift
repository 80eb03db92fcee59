package import Encodings

/// What kind of refusal or failure an error of the contract is.
package enum ErrorCode: String, Sendable, CaseIterable {
    /// The message itself is malformed or of the wrong types.
    case badRequest = "bad_request"
    /// A value out of range, or a member that the contract does not know.
    case invalidArgument = "invalid_argument"
    /// An id or name that nobody knows.
    case notFound = "not_found"
    /// A key, state or name that stands against it.
    case conflict
    /// More than the contract's limits.
    case tooLarge = "too_large"
    /// Nothing was accepted; the same request may succeed soon.
    case busy
    /// The database is away; nothing was accepted.
    case unavailable
    /// Our fault.
    case internalError = "internal"
    /// An attempt passed `timeout_s`, on its last try.
    case timedOut = "timed_out"
    /// It was being run by workers that died.
    case lost
    /// One of the tasks that it waits for failed or was cancelled.
    case dependencyFailed = "dependency_failed"
    /// A logit or loss that is not a number, or weights that do not fit their description.
    case modelError = "model_error"
}

/// An error as clients, SQL users and events see it.
package struct ContractError: Error, Sendable, Hashable, CustomStringConvertible {
    package var code: ErrorCode
    /// One sentence for a person. Never holds a prompt, a key or other values of the request beyond numbers.
    package var message: String
    /// The offending member, as `task.params.top_p`; nil where none is to blame.
    package var field: String?

    package init(_ code: ErrorCode, _ message: String, field: String? = nil) {
        self.code = code
        self.message = message
        self.field = field
    }

    package init(code: ErrorCode, message: String, field: String? = nil) { self.init(code, message, field: field) }

    package var description: String { field.map { "\(code.rawValue): \(message) (\($0))" } ?? "\(code.rawValue): \(message)" }
}

extension ContractError {
    /// Writes `{"code", "message", "field"}`.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(3)
        writer.member("code", code.rawValue)
        writer.member("message", message)
        writer.member("field", field)
        writer.endMap()
    }

    /// The same as JSON text, as the `error` columns hold it.
    package var json: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// The error that such a map spells; nil where it is none. A code of a later version counts as `internal`.
    package init?(_ node: Node) {
        guard node.kind == .map, let code = node["code"]?.stringValue else { return nil }
        self.init(ErrorCode(rawValue: code) ?? .internalError, node["message"]?.stringValue ?? "", field: node["field"]?.stringValue)
    }

    /// ``init(_:)`` of JSON text.
    package init?(json: [UInt8]) {
        guard let document = try? Document.parse(json: json) else { return nil }
        self.init(document.root)
    }
}
