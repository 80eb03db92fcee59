/// Why a command ends with another status than 0; its text goes to standard error.
enum CommandFailure: Error, Equatable, CustomStringConvertible {
    /// The work failed: status 1.
    case failed(String)
    /// The command line or the input is wrong: status 2.
    case usage(String)
    /// A needed service is away: status 69 (sysexits.h's EX_UNAVAILABLE).
    case unavailable(String)

    /// The exit status of the contract.
    var status: Int32 {
        switch self {
        case .failed: 1
        case .usage: 2
        case .unavailable: 69
        }
    }

    var description: String {
        switch self {
        case .failed(let message), .usage(let message), .unavailable(let message): message
        }
    }
}
