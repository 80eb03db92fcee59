import ArgumentParser

/// How a client command finds the service.
struct ServiceOptions: ParsableArguments {
    @Option(help: ArgumentHelp("A broker's tasks endpoint; repeatable. Also SCRIPTORIUM_TASKS_ENDPOINT.", valueName: "endpoint"))
    var broker: [String] = []

    @Option(help: ArgumentHelp("Where `scriptorium up` keeps its data, and says what it listens on.", valueName: "folder"))
    var dataDir = "./.scriptorium"

    @OptionGroup(title: "Keys")
    var curve: CurveClientOptions

    /// The tasks endpoints to try, in order.
    /// - Throws: ``CommandFailure`` where none is named and no service runs in the data folder.
    func tasksEndpoints() throws -> [String] {
        if !broker.isEmpty {
            for endpoint in broker where endpoint.contains("*") || endpoint.contains("0.0.0.0") {
                throw CommandFailure.usage("\(endpoint) is an address to listen on; name one to connect to")
            }
            return broker
        }
        if let endpoint = try ServiceFile.member("tasks", dataDirectory: dataDir) { return [endpoint] }
        throw CommandFailure.unavailable("no service runs in \(dataDir): start `scriptorium up`, or name a broker with --broker")
    }
}
