internal import CZeroMQ
internal import Glibc

/// What can go wrong between this process and a socket; a peer's misbehaviour is never one of these.
package enum MessagingError: Error, Equatable, CustomStringConvertible {
    /// Nobody can listen at this endpoint (taken, not a local address, malformed).
    case bindFailed(endpoint: String, reason: String)
    /// An endpoint that cannot be connected to (malformed: an absent peer is no error).
    case connectFailed(endpoint: String, reason: String)
    /// An endpoint reachable from other machines, without keys.
    case notLoopback(endpoint: String)
    /// The context was shut down while a socket was in use.
    case terminated
    /// Any other failed call of the library or the system.
    case failed(call: String, reason: String)

    package var description: String {
        switch self {
        case .bindFailed(let endpoint, let reason):
            "cannot listen at \(endpoint): \(reason); choose another endpoint or stop who holds it"
        case .connectFailed(let endpoint, let reason):
            "cannot connect to \(endpoint): \(reason); an endpoint reads tcp://HOST:PORT"
        case .notLoopback(let endpoint):
            "\(endpoint) can be reached from other machines and no CURVE keys are given: give --curve-key, listen on 127.0.0.1, or say --insecure"
        case .terminated: "the messaging context was shut down"
        case .failed(let call, let reason): "\(call): \(reason)"
        }
    }

    /// The current errno of the library, as a sentence.
    static func reason(_ code: Int32 = zmq_errno()) -> String {
        guard let text = zmq_strerror(code) else { return "error \(code)" }
        return String(cString: text)
    }

    /// The error of a call that just failed.
    static func last(_ call: String) -> MessagingError {
        let code = zmq_errno()
        return code == scriptoriumETERM ? .terminated : .failed(call: call, reason: reason(code))
    }
}

/// `ETERM` of zmq.h (`ZMQ_HAUSNUMERO + 53`), which is a macro that Swift does not import.
let scriptoriumETERM: Int32 = 156_384_712 + 53
