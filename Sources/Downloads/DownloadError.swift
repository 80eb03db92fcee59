/// Why something could not be fetched. Every case names the address; none holds a token.
package enum DownloadError: Error, Sendable, Equatable, CustomStringConvertible {
    /// An address that is none, or that may not be used.
    case badAddress(String, reason: String)
    /// The server says that there is nothing.
    case notFound(String)
    /// The server wants to know who asks, or refuses who does.
    case denied(String, status: Int)
    /// Another answer than was asked for.
    case refused(String, status: Int)
    /// The connection failed or was cut, and again each time it was tried.
    case unreachable(String, reason: String)
    /// More bytes than are allowed.
    case tooLarge(String, limit: Int)
    /// The bytes are not those that the server announced.
    case wrongDigest(String, expected: String, actual: String)
    /// What came is not what the protocol says.
    case malformed(String, reason: String)
    /// The file could not be written.
    case unwritable(path: String, reason: String)

    package var description: String {
        switch self {
        case .badAddress(let address, let reason): "\(address): \(reason)"
        case .notFound(let address): "\(address) does not exist there (or is private: set HF_TOKEN)"
        case .denied(let address, let status): "\(address): status \(status): access is refused; set HF_TOKEN to a token that may read it"
        case .refused(let address, let status): "\(address): the server answered with status \(status)"
        case .unreachable(let address, let reason): "\(address) cannot be fetched: \(reason); what is there is kept, try again"
        case .tooLarge(let address, let limit): "\(address) is larger than \(limit) bytes"
        case .wrongDigest(let address, let expected, let actual):
            "\(address): the bytes that came have the digest \(actual), but \(expected) was announced; they were removed, try again"
        case .malformed(let address, let reason): "\(address): \(reason)"
        case .unwritable(let path, let reason): "\(path) cannot be written: \(reason)"
        }
    }
}
