package import TaskProtocol

/// A way to a broker: requests go out under numbers, their answers come back in any order. It belongs to the thread that transfers.
package protocol ArtifactTransport: AnyObject {
    /// Sends a request; one that cannot be sent now is lost, and said to be by the next ``next(milliseconds:)``.
    func send(_ operation: ArtifactOperation, number: Int64) throws(TransferError)
    /// What came, at the latest after this time.
    func next(milliseconds: Int) throws(TransferError) -> TransportEvent
}

/// What a transport has to say.
package enum TransportEvent: Sendable, Equatable {
    case answer(number: Int64, ArtifactAnswer)
    /// What was sent and not answered will not be answered any more; from here on it goes over another connection.
    case lost
    case nothing
}

/// Who looks on while artifacts go over a line.
package struct TransferWatch {
    /// Called with bytes done so far, of all that the caller asked for.
    package var progress: (_ done: Int64, _ total: Int64) -> Void
    /// Asked several times a second; where it says true the transfer ends with ``TransferError/stopped``.
    package var isStopped: () -> Bool

    package init(progress: @escaping (_ done: Int64, _ total: Int64) -> Void = { _, _ in }, isStopped: @escaping () -> Bool = { false }) {
        self.progress = progress
        self.isStopped = isStopped
    }
}

/// Why artifacts did not come over.
package enum TransferError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Who asked for it wants it no more.
    case stopped
    /// Not one more byte for so long.
    case silent(seconds: Int)
    /// The service refused it.
    case refused(ContractError)
    /// A file on this machine, or bytes that do not have their digest.
    case artifact(ArtifactError)
    /// Answers that contradict each other.
    case broken(String)
    /// The connection itself failed.
    case connection(String)

    package var description: String {
        switch self {
        case .stopped: "the transfer was stopped"
        case .silent(let seconds): "nothing has come over for \(seconds) s"
        case .refused(let error): error.description
        case .artifact(let error): error.description
        case .broken(let what): "the broker's answers make no sense: \(what)"
        case .connection(let what): what
        }
    }
}
