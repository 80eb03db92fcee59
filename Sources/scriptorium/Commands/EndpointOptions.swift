import ArgumentParser
import Messaging
import Operations

/// Where a broker listens.
struct EndpointOptions: ParsableArguments {
    @Option(help: "Clients publish and ask here (ROUTER).")
    var tasksEndpoint = "tcp://127.0.0.1:5570"

    @Option(help: "Clients subscribe to events here (XPUB).")
    var eventsEndpoint = "tcp://127.0.0.1:5571"

    @Option(help: "Workers join here (ROUTER).")
    var workersEndpoint = "tcp://127.0.0.1:5572"

    @Option(help: "Other brokers subscribe here (XPUB).")
    var peersEndpoint = "tcp://127.0.0.1:5574"

    @Option(help: ArgumentHelp("Health and metrics over HTTP, and nothing else.", valueName: "host:port"))
    var http = "127.0.0.1:5573"

    @Flag(help: "Allow listening beyond loopback without keys: anyone who reaches the sockets may then read and publish.")
    var insecure = false

    func validate() throws {
        for (option, value) in sockets where !value.isEndpoint {
            throw ValidationError("--\(option): \(value) is not an endpoint such as tcp://127.0.0.1:5570")
        }
    }

    /// Option name (without dashes) and value of the four sockets.
    var sockets: [(option: String, value: String)] {
        [
            ("tasks-endpoint", tasksEndpoint), ("events-endpoint", eventsEndpoint), ("workers-endpoint", workersEndpoint),
            ("peers-endpoint", peersEndpoint),
        ]
    }

    /// The HTTP endpoint's address.
    /// - Throws: ``CommandFailure/usage(_:)`` where it is none.
    func httpAddress() throws -> OperationsServer.Address {
        guard let address = OperationsServer.Address(http) else { throw CommandFailure.usage("--http: \(http) is not host:port") }
        return address
    }

    /// Refuses to listen beyond loopback where strangers are not kept out. Health and metrics are open to whoever reaches them: with keys the
    /// operator has said that others are about, and they hold nothing of a task.
    func checkReach(hasKeys: Bool) throws {
        for endpoint in sockets.map(\.value) + [http] {
            do { try Listening.check(endpoint, hasKeys: hasKeys, isInsecureAllowed: insecure) } catch { throw CommandFailure.usage("\(error)") }
        }
    }
}

extension String {
    /// Whether the text has the form `tcp://host:port` (the port a number or `*`), or `ipc://path`.
    var isEndpoint: Bool {
        if hasPrefix("ipc://") { return utf8.count > 6 }
        guard hasPrefix("tcp://"), let colon = lastIndex(of: ":") else { return false }
        let host = self[index(startIndex, offsetBy: 6)..<Swift.max(colon, index(startIndex, offsetBy: 6))]
        let port = self[index(after: colon)...]
        return !host.isEmpty && (port == "*" || Int(port).map { (0...65535).contains($0) } == true)
    }
}
