import Broker
import Glibc
import Messaging
import Supervision

/// The keys of a service under one roof: what `scriptorium up --curve-key` hands to its broker, its workers and the clients of its folder.
///
/// The broker's pair is the operator's. The workers' and the local clients' pairs are made at the first start and kept in `DATA_DIR/keys`, a
/// folder that only their owner can search; whoever may read that folder may use the service.
struct HouseKeys {
    /// The broker's public key.
    let serverKey: String
    /// The secret key of client commands that find the service by its data folder.
    let clientFile: String
    let brokerArguments: [String]
    let workerArguments: [String]

    /// - Returns: nil where no keys are given.
    /// - Throws: ``CommandFailure/usage(_:)`` where a file cannot be used.
    init?(_ options: CurveServerOptions, _ directory: DataDirectory) throws {
        guard let brokerFile = options.curveKey else {
            _ = try options.security()
            return nil
        }
        let folder = directory.path + "/keys"
        try DataDirectory.makeFolder(folder, mode: 0o700)
        let workerFile = folder + "/worker.key"
        clientFile = folder + "/client.key"
        for (file, name) in [(workerFile, "the workers of up"), (clientFile, "clients of this folder")] { try Self.make(file, name) }
        // Everything is checked here, before PostgreSQL is started: the broker would find it too, but later.
        let (clients, workers) = ([clientFile + ".pub"], [workerFile + ".pub"])
        guard let security = try options.security(moreClients: clients, moreWorkers: workers) else { return nil }
        serverKey = security.keys.publicKey.text
        brokerArguments =
            ["--curve-key", brokerFile] + Self.flags("--curve-clients", options.curveClients + clients)
            + Self.flags("--curve-workers", options.curveWorkers + workers) + Self.flags("--curve-brokers", options.curveBrokers)
        workerArguments = ["--curve-key", workerFile, "--curve-server-key", serverKey]
    }

    private static func flags(_ name: String, _ values: [String]) -> [String] { values.flatMap { [name, $0] } }

    private static func make(_ file: String, _ name: String) throws {
        if access(file, F_OK) == 0, access(file + ".pub", F_OK) == 0 { return }
        // A start that was killed between the two files leaves a public key without its secret half.
        unlink(file + ".pub")
        do { try CurveKeyFile.write(try .generate(), to: file, name: name) } catch let error as KeyFileError {
            throw CommandFailure.usage("\(error)")
        }
    }
}
