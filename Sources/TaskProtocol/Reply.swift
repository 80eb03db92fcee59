package import Encodings

/// What a client is answered, apart from its request's id.
package enum Reply: Sendable, Equatable {
    /// The answer to `ping`.
    package struct Pong: Sendable, Equatable {
        package var version: String
        package var broker: BrokerID
        /// The database's `synchronous_commit`; nil while it is away.
        package var synchronousCommit: String?
        package var synchronousStandbys: [String]

        package init(version: String, broker: BrokerID, synchronousCommit: String?, synchronousStandbys: [String]) {
            self.version = version
            self.broker = broker
            self.synchronousCommit = synchronousCommit
            self.synchronousStandbys = synchronousStandbys
        }
    }

    /// One task of a `submit`, as it is now.
    package struct Submitted: Sendable, Equatable {
        package var id: TaskID
        package var state: TaskState
        package var duplicate: Bool

        package init(id: TaskID, state: TaskState, duplicate: Bool) {
            self.id = id
            self.state = state
            self.duplicate = duplicate
        }
    }

    /// One task of a `cancel` or `retry`.
    package struct Stand: Sendable, Equatable {
        package var id: TaskID
        package var state: TaskState

        package init(id: TaskID, state: TaskState) {
            self.id = id
            self.state = state
        }
    }

    case pong(Pong)
    case submitted([Submitted])
    /// Of `get`.
    case statuses([TaskStatus])
    /// Of `wait` (`timedOut` where it is not terminal yet), and the first of `watch`.
    case status(TaskStatus, timedOut: Bool)
    /// One event of a watch.
    case event(TaskEvent)
    /// Of `cancel` and `retry`.
    case stands([Stand])
    case models([ModelRow])
    case model(ModelRow)
    case dataset(DatasetRow)
    case datasets([DatasetRow])
    /// Of `explain`.
    case explanation(TaskExplanation)
    /// Of `queues`, `queue`, `schedules`, `schedule` and `unschedule`.
    case administered(AdministrationReply)
    /// Of `put`: bytes there so far.
    case have(Int64)
    /// Of `fetch`: bytes from the asked offset on, and the artifact's size. Only ever in MessagePack.
    case data([UInt8], size: Int64)
    /// Of `unwatch`.
    case done
    case error(ContractError)
}

extension Reply {
    /// The payload frame of the reply.
    ///
    /// A `get` whose answer would pass the limit becomes `too_large`, saying how many of its ids fit; a single status loses its result
    /// instead (``TaskStatus/truncatingResult(over:)``).
    package func encode(re id: RequestID, as encoding: PayloadEncoding, maximumBytes: Int = Request.Limits.replyBytes) -> [UInt8] {
        let fitting = fitted(to: maximumBytes)
        switch encoding {
        case .json: return fitting.encode(re: id, with: JSONWriter.self)
        case .messagePack: return fitting.encode(re: id, with: MessagePackWriter.self)
        }
    }

    private func fitted(to maximumBytes: Int) -> Reply {
        switch self {
        case .status(let status, let timedOut): return .status(status.truncatingResult(over: maximumBytes), timedOut: timedOut)
        case .statuses(let all):
            if all.count == 1 { return .statuses([all[0].truncatingResult(over: maximumBytes)]) }
            var bytes = 512
            for (place, status) in all.enumerated() {
                bytes += status.estimatedBytes
                guard bytes > maximumBytes else { continue }
                let message = "the reply would pass \(maximumBytes) bytes; the first \(place) of these \(all.count) ids fit"
                return .error(ContractError(.tooLarge, message, field: "ids"))
            }
            return self
        default: return self
        }
    }

    private func encode<Writer: PayloadWriter>(re id: RequestID, with _: Writer.Type) -> [UInt8] {
        var writer = Writer()
        writer.beginMap(2 + memberCount)
        writer.key("re")
        switch id {
        case .none: writer.null()
        case .string(let text): writer.string(text)
        case .integer(let value): writer.int(value)
        }
        if case .error = self { writer.member("ok", false) } else { writer.member("ok", true) }
        writeMembers(to: &writer)
        writer.endMap()
        return writer.bytes
    }

    private var memberCount: Int {
        switch self {
        case .pong: 4
        case .done: 0
        case .administered(let reply): reply.memberCount
        case .status(_, let timedOut): timedOut ? 2 : 1
        case .data: 2
        default: 1
        }
    }

    private func writeMembers(to writer: inout some PayloadWriter) {
        switch self {
        case .done: break
        case .administered(let reply): reply.writeMember(to: &writer)
        case .have(let bytes): writer.member("have", bytes)
        case .data(let data, let size):
            writer.key("data")
            writer.binary(data)
            writer.member("size", size)
        case .pong(let pong): pong.writeMembers(to: &writer)
        case .submitted(let tasks): writer.list("tasks", tasks) { $0.write(to: &$1) }
        case .statuses(let tasks): writer.list("tasks", tasks) { $0.write(to: &$1) }
        case .stands(let tasks): writer.list("tasks", tasks) { $0.write(to: &$1) }
        case .models(let rows): writer.list("models", rows) { $0.write(to: &$1) }
        case .status(let status, let timedOut):
            writer.key("task")
            status.write(to: &writer)
            if timedOut { writer.member("timed_out", true) }
        case .event(let event):
            writer.key("event")
            event.write(to: &writer)
        case .explanation(let explanation):
            writer.key("explanation")
            explanation.write(to: &writer)
        case .datasets(let rows): writer.list("datasets", rows) { $0.write(to: &$1) }
        case .model(let row):
            writer.key("model")
            row.write(to: &writer)
        case .dataset(let row):
            writer.key("dataset")
            row.write(to: &writer)
        case .error(let error):
            writer.key("error")
            error.write(to: &writer)
        }
    }
}

extension PayloadWriter {
    mutating func list<Element>(_ name: String, _ elements: [Element], _ write: (Element, inout Self) -> Void) {
        key(name)
        beginArray(elements.count)
        for element in elements { write(element, &self) }
        endArray()
    }
}

extension Reply.Pong {
    fileprivate func writeMembers(to writer: inout some PayloadWriter) {
        writer.member("version", version)
        writer.member("broker", broker.description)
        writer.member("protocol", 1)
        writer.key("durability")
        writer.beginMap(2)
        writer.member("synchronous_commit", synchronousCommit)
        writer.member("synchronous_standbys", synchronousStandbys)
        writer.endMap()
    }
}

extension Reply.Submitted {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(3)
        writer.member("id", id.description)
        writer.member("state", state.rawValue)
        writer.member("duplicate", duplicate)
        writer.endMap()
    }
}

extension Reply.Stand {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(2)
        writer.member("id", id.description)
        writer.member("state", state.rawValue)
        writer.endMap()
    }
}

extension ModelRow {
    /// Writes the row as `models` shows it.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(7)
        writer.member("name", name)
        writer.member("checkpoint", checkpoint.description)
        writer.member("sha256", sha256)
        writer.member("uri", uri)
        writer.member("architecture", architecture)
        writer.member("parameters", parameters)
        writer.member("context_length", contextLength)
        writer.endMap()
    }
}

extension DatasetRow {
    /// Writes the row as `register` answers it.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(9)
        writer.member("name", name)
        writer.member("uri", uri)
        writer.member("sha256", sha256)
        writer.member("bytes", bytes)
        writer.member("tokens", tokens)
        writer.member("block_size", blockSize)
        writer.member("line_by_line", lineByLine)
        writer.member("tokenizer_sha256", tokenizerSHA256)
        writer.member("created_at", Timestamp.text(milliseconds: createdMilliseconds))
        writer.endMap()
    }
}
