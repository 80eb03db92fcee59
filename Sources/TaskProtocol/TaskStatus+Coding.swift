package import Encodings

extension TaskStatus {
    /// Writes the contract's TaskStatus.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(17)
        writer.member("id", id.description)
        writer.member("kind", kind)
        writer.member("queue", queue)
        writer.member("state", state.rawValue)
        writer.member("priority", priority)
        writer.member("key", key)
        writer.member("attempt", attempt)
        writer.member("run_at", Timestamp.text(milliseconds: runAt))
        writer.member("created_at", Timestamp.text(milliseconds: createdAt))
        writer.member("started_at", startedAt.map(Timestamp.text))
        writer.member("finished_at", finishedAt.map(Timestamp.text))
        writer.member("params", json: params)
        writer.member("tags", json: tags)
        writer.member("waiting_for", waitingFor?.rawValue)
        writer.member("progress", json: progress)
        writer.member("error", json: error)
        writer.member("result", json: result)
        writer.endMap()
    }

    /// A bound of the bytes that the status takes in a reply, without writing it.
    var estimatedBytes: Int {
        let texts = params.count + tags.count + (progress?.count ?? 0) + (error?.count ?? 0) + (result?.count ?? 0)
        return texts + queue.utf8.count + 2 * (key?.utf8.count ?? 0) + 600
    }

    /// The same status with `{"truncated": true, "generations": <count>}` for a result that alone would pass the limit.
    package func truncatingResult(over limit: Int = Request.Limits.replyBytes) -> TaskStatus {
        guard estimatedBytes > limit, let result else { return self }
        let count = (try? Document.parse(json: result, allowNUL: true))?.root["generations"]?.count ?? 0
        var status = self
        status.result = Array("{\"truncated\":true,\"generations\":\(count)}".utf8)
        return status
    }

    /// The status that a reply holds; nil where it is none.
    package init?(_ node: Node) {
        guard let id = node["id"]?.stringValue.flatMap(UUIDValue.init(_:)), let kind = node["kind"]?.stringValue,
            let state = node["state"]?.stringValue.flatMap(TaskState.init(rawValue:))
        else { return nil }
        func time(_ name: String) -> Int64? { node[name]?.stringValue.flatMap(Timestamp.milliseconds) }
        self.init(
            id: id, kind: kind, queue: node["queue"]?.stringValue ?? "default", state: state, priority: Int(node["priority"]?.integerValue ?? 0),
            key: node["key"]?.stringValue, attempt: Int(node["attempt"]?.integerValue ?? 0), runAt: time("run_at") ?? 0,
            createdAt: time("created_at") ?? 0, startedAt: time("started_at"), finishedAt: time("finished_at"),
            params: node["params"]?.json ?? Array("{}".utf8), tags: node["tags"]?.json ?? Array("{}".utf8),
            waitingFor: node["waiting_for"]?.stringValue.flatMap(WaitingReason.init(rawValue:)), progress: node["progress"]?.json,
            error: node["error"]?.json, result: node["result"]?.json)
    }
}
