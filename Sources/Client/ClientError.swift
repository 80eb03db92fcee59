/// Why a call of ``ScriptoriumClient`` gave no answer.
public enum ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No broker answered, or its database is away. Whether a request without a `key` was accepted may be unknown: the text says so.
    case unavailable(String)
    /// Every broker refused this client's key, or wants keys where none are used, or the other way round. Found within three seconds; the text
    /// says which key was refused by which endpoint, and what to do.
    case keyRefused(endpoint: String, message: String)
    /// The service refused the request, with the contract's error.
    case refused(ServiceError)
    /// An endpoint that is none, or an answer that cannot be understood.
    case broken(String)
    /// A file on this machine that cannot be read or written, or fetched bytes that do not have their digest.
    case files(String)
    /// The task of the caller was cancelled, or the client closed.
    case cancelled

    /// Whether the service (not the request) is at fault: the same call may succeed later. The command line ends with 69 then.
    public var isServiceAway: Bool {
        switch self {
        case .unavailable, .keyRefused: true
        case .refused(let error): error.code == "unavailable"
        case .broken, .files, .cancelled: false
        }
    }

    /// One sentence for a person.
    public var description: String {
        switch self {
        case .unavailable(let message), .keyRefused(_, let message), .broken(let message), .files(let message): message
        case .refused(let error): error.description
        case .cancelled: "the call was cancelled"
        }
    }
}

/// An error of the contract: `{"code", "message", "field"}`.
public struct ServiceError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One of the contract's words, as `invalid_argument`.
    public let code: String
    /// One sentence for a person.
    public let message: String
    /// The offending member, as `task.params.top_p`.
    public let field: String?

    /// An error as it stands in a reply.
    public init(code: String, message: String, field: String?) {
        self.code = code
        self.message = message
        self.field = field
    }

    /// One sentence for a person.
    public var description: String { field.map { "\(code): \(message) (\($0))" } ?? "\(code): \(message)" }
}
