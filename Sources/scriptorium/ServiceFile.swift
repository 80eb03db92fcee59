import Encodings

/// `DATA_DIR/service.json`: where a running `scriptorium up` says what it listens on.
struct ServiceFile {
    var tasks: String
    var events: String
    var workers: String
    var peers: String
    var http: String
    var databaseURL: String
    var artifacts: String
    var startedAt: String
    var pids: JSONObject
    /// Where the broker asks for keys: its public key, and the file of the pair made for clients on this machine.
    var keys: (server: String, clientFile: String)?

    /// The file's text: one JSON map.
    var text: String {
        var object: JSONObject = [
            "tasks": .string(tasks), "events": .string(events), "workers": .string(workers), "peers": .string(peers), "http": .string(http),
            "database_url": .string(databaseURL), "artifacts": .string(artifacts), "started_at": .string(startedAt), "pids": .object(pids),
        ]
        add(keys, to: &object)
        return String(decoding: JSONValue.object(object).prettyPrinted, as: UTF8.self) + "\n"
    }

    private func add(_ keys: (server: String, clientFile: String)?, to object: inout JSONObject) {
        guard let keys else { return }
        object["server_key"] = .string(keys.server)
        object["client_key"] = .string(keys.clientFile)
    }

    /// A member of the file of a data folder, or nil where nothing runs there.
    static func member(_ name: String, dataDirectory: String) throws -> String? {
        let path = dataDirectory + "/service.json"
        guard let bytes = InputFile.read(path) else { return nil }
        do {
            return try JSONValue.parse(bytes)[name]?.stringValue
        } catch {
            throw CommandFailure.usage("\(path) is damaged (\(error)); start `scriptorium up` anew")
        }
    }
}

extension ServiceFile {
    /// The endpoints alone, for `up --json`.
    var endpoints: JSONObject {
        var object: JSONObject = [
            "tasks": .string(tasks), "events": .string(events), "workers": .string(workers), "peers": .string(peers), "http": .string(http),
            "database_url": .string(databaseURL), "artifacts": .string(artifacts),
        ]
        add(keys, to: &object)
        return object
    }

    /// The endpoints for a person, and what to do next.
    var table: String {
        """
        Scriptorium is ready.
          tasks      \(tasks)
          events     \(events)
          workers    \(workers)
          peers      \(peers)
          http       http://\(http)/metrics
          database   \(databaseURL)
          artifacts  \(artifacts)\(keys.map { "\n  keys       server \($0.server), clients here \($0.clientFile)" } ?? "")
        Next: scriptorium model import DIR --name NAME; scriptorium submit generate --model NAME --prompt "In the" --wait
        """
    }
}
