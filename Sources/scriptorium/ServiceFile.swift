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

    /// The file's text: one JSON map.
    var text: String {
        let object: JSONObject = [
            "tasks": .string(tasks), "events": .string(events), "workers": .string(workers), "peers": .string(peers), "http": .string(http),
            "database_url": .string(databaseURL), "artifacts": .string(artifacts), "started_at": .string(startedAt), "pids": .object(pids),
        ]
        return String(decoding: JSONValue.object(object).prettyPrinted, as: UTF8.self) + "\n"
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
        [
            "tasks": .string(tasks), "events": .string(events), "workers": .string(workers), "peers": .string(peers), "http": .string(http),
            "database_url": .string(databaseURL), "artifacts": .string(artifacts),
        ]
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
          artifacts  \(artifacts)
        Next: scriptorium model import DIR --name NAME; scriptorium submit generate --model NAME --prompt "In the" --wait
        """
    }
}
