import ArgumentParser
import Broker
import Client
import Messaging

/// The keys of a broker, and the lists of those whom it lets in.
struct CurveServerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The broker's own secret key (`scriptorium keygen`): all four sockets then speak CURVE.", valueName: "file"))
    var curveKey: String?

    @Option(
        help: ArgumentHelp("Public keys that may publish, ask and subscribe, one a line; repeatable, re-read when changed.", valueName: "file"))
    var curveClients: [String] = []

    @Option(help: ArgumentHelp("Public keys of workers, likewise.", valueName: "file"))
    var curveWorkers: [String] = []

    @Option(help: ArgumentHelp("Public keys of the other brokers, likewise; the own key is let in without.", valueName: "file"))
    var curveBrokers: [String] = []

    /// The broker's keys and lists, or nil where it has none.
    /// - Parameters:
    ///   - moreClients: lists of the program's own, beside those given.
    ///   - moreWorkers: likewise.
    /// - Throws: ``CommandFailure/usage(_:)`` where a file cannot be used, or a list that must be there is missing.
    func security(moreClients: [String] = [], moreWorkers: [String] = []) throws -> BrokerSecurity? {
        let lists = [("--curve-clients", curveClients + moreClients), ("--curve-workers", curveWorkers + moreWorkers)]
        guard let curveKey else {
            for (flag, files) in lists + [("--curve-brokers", curveBrokers)] where !files.isEmpty {
                throw CommandFailure.usage("\(flag) needs --curve-key: without a key of its own a broker cannot ask for others'")
            }
            return nil
        }
        for (flag, files) in lists where files.isEmpty {
            throw CommandFailure.usage("--curve-key needs \(flag) FILE: nobody is let in whose key is not listed (an empty file lets in nobody)")
        }
        do {
            return try BrokerSecurity(keys: try CurveKeyFile.read(curveKey), clients: lists[0].1, workers: lists[1].1, brokers: curveBrokers)
        } catch let error as KeyFileError {
            throw CommandFailure.usage("\(error)")
        }
    }
}

/// The keys with which a client or worker comes to a broker.
struct CurveClientOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The own secret key (`scriptorium keygen`), where brokers ask for keys.", valueName: "file"))
    var curveKey: String?

    // A key may begin with a dash: whatever follows the flag is the key.
    @Option(
        parsing: .unconditionalSingleValue,
        help: ArgumentHelp(
            "The broker's public key, or a file that holds it; repeatable: one that all brokers have, or one for each --broker.", valueName: "key"))
    var curveServerKey: [String] = []

    /// Whether any key is given.
    var isGiven: Bool { curveKey != nil || !curveServerKey.isEmpty }

    /// Both halves of what is needed, or nil where none is given.
    /// - Throws: ``CommandFailure/usage(_:)`` where only one half is given.
    func given() throws -> (file: String, serverKeys: [String])? {
        switch (curveKey, curveServerKey.isEmpty) {
        case (nil, true): nil
        case (let file?, false): (file, curveServerKey)
        case (nil, false): throw CommandFailure.usage("--curve-server-key needs --curve-key FILE: a broker asks for this side's key too")
        case (_?, true): throw CommandFailure.usage("--curve-key needs --curve-server-key KEY: the broker's public key (its FILE.pub)")
        }
    }

    /// What a worker shows to its brokers and expects of them.
    func credentials(for brokers: [String]) throws -> CurveCredentials? {
        guard let given = try given() else { return nil }
        do throws(KeyFileError) {
            let pair = try CurveKeyFile.read(given.file)
            var servers: [CurvePublicKey] = []
            for key in given.serverKeys { servers.append(try CurveKeyFile.publicKey(key)) }
            if let credentials = CurveCredentials(keys: pair, servers: servers, endpoints: brokers) { return credentials }
        } catch {
            throw CommandFailure.usage("\(error)")
        }
        throw CommandFailure.usage(
            "--curve-server-key: \(given.serverKeys.count) keys are given for \(brokers.count) brokers; give one, or one for each")
    }
}
