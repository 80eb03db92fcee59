package import Encodings

extension TaskEvent {
    /// Writes the contract's Event.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(5 + body.memberCount)
        writer.member("task", task.description)
        writer.member("attempt", attempt)
        writer.member("seq", sequence)
        writer.member("event", name)
        writer.member("at", Timestamp.text(milliseconds: at))
        body.writeMembers(to: &writer)
        writer.endMap()
    }

    /// JSON of the event, as the events endpoint sends it.
    package var json: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// The event that a map holds; nil where it is none, or one of a later version (which clients ignore).
    package init?(_ node: Node) {
        guard let task = node["task"]?.stringValue.flatMap(UUIDValue.init(_:)), let name = node["event"]?.stringValue,
            let body = Body(name, node)
        else { return nil }
        self.init(
            task: task, attempt: Int(node["attempt"]?.integerValue ?? 0), sequence: node["seq"]?.integerValue ?? 0,
            at: node["at"]?.stringValue.flatMap(Timestamp.milliseconds) ?? 0, body: body)
    }
}

extension TaskEvent.Body {
    fileprivate var memberCount: Int {
        switch self {
        case .queued, .succeeded, .cancelled: 0
        case .started(let worker): worker == nil ? 0 : 1
        case .failed: 1
        case .token: 5
        case .sample(_, _, _, _, let reason, let step): 4 + (reason == nil ? 0 : 1) + (step == nil ? 0 : 1)
        case .progress(let progress): 5 + (progress.phase == nil ? 0 : 1)
        case .checkpoint: 5
        case .retrying(_, _, let numerics): 2 + (numerics == nil ? 0 : 1)
        }
    }

    fileprivate func writeMembers(to writer: inout some PayloadWriter) {
        switch self {
        case .queued, .succeeded, .cancelled: break
        case .started(let worker): if let worker { writer.member("worker", worker) }
        case .failed(let error):
            writer.key("error")
            error.write(to: &writer)
        case .token(let sample, let draw, let index, let tokenID, let text):
            writer.member("sample", sample)
            writer.member("draw", draw)
            writer.member("index", index)
            writer.member("token_id", tokenID)
            writer.member("text", text)
        case .sample(let sample, let promptIndex, let draw, let text, let reason, let step):
            writer.member("sample", sample)
            writer.member("prompt_index", promptIndex)
            writer.member("draw", draw)
            writer.member("text", text)
            if let reason { writer.member("finish_reason", reason) }
            if let step { writer.member("step", step) }
        case .progress(let progress): progress.writeMembers(to: &writer)
        case .checkpoint(let id, let step, let uri, let sha256, let bytes):
            writer.member("id", id.description)
            writer.member("step", step)
            writer.member("uri", uri)
            writer.member("sha256", sha256)
            writer.member("bytes", bytes)
        case .retrying(let error, let runAt, let numerics):
            writer.key("error")
            if let error { error.write(to: &writer) } else { writer.null() }
            writer.member("run_at", runAt.map(Timestamp.text))
            if let numerics { writer.member("numerics", numerics) }
        }
    }

    fileprivate init?(_ name: String, _ node: Node) {
        func integer(_ name: String) -> Int? { node[name]?.integerValue.map { Int($0) } }
        func text(_ name: String) -> String { node[name]?.stringValue ?? "" }
        switch name {
        case "queued": self = .queued
        case "started": self = .started(worker: node["worker"]?.stringValue)
        case "succeeded": self = .succeeded
        case "cancelled": self = .cancelled
        case "failed": self = .failed(node["error"].flatMap(ContractError.init(_:)) ?? ContractError(.internalError, "no reason was given"))
        case "token":
            self = .token(
                sample: integer("sample") ?? 0, draw: integer("draw") ?? 0, index: integer("index") ?? 0, tokenID: integer("token_id") ?? 0,
                text: text("text"))
        case "sample":
            self = .sample(
                sample: integer("sample") ?? 0, promptIndex: integer("prompt_index") ?? 0, draw: integer("draw") ?? 0, text: text("text"),
                finishReason: node["finish_reason"]?.stringValue, step: integer("step"))
        case "progress": self = .progress(TaskProgress(node))
        case "checkpoint":
            guard let id = UUIDValue(text("id")) else { return nil }
            self = .checkpoint(
                id: id, step: integer("step") ?? 0, uri: text("uri"), sha256: text("sha256"), bytes: node["bytes"]?.integerValue ?? 0)
        case "retrying":
            self = .retrying(
                error: node["error"].flatMap(ContractError.init(_:)), runAt: node["run_at"]?.stringValue.flatMap(Timestamp.milliseconds),
                numerics: node["numerics"]?.stringValue)
        default: return nil
        }
    }
}

extension TaskProgress {
    fileprivate func writeMembers(to writer: inout some PayloadWriter) {
        if let phase { writer.member("phase", phase) }
        writer.member("step", step)
        writer.member("num_steps", numSteps)
        writer.member("loss", loss)
        writer.member("average_loss", averageLoss)
        writer.member("tokens_per_second", tokensPerSecond)
    }

    /// JSON of the progress, as a task's `progress` shows it.
    package var json: [UInt8] {
        var writer = JSONWriter()
        writer.beginMap(phase == nil ? 5 : 6)
        writeMembers(to: &writer)
        writer.endMap()
        return writer.bytes
    }

    /// The progress that a map holds; absent members stay nil.
    package init(_ node: Node) {
        self.init(
            phase: node["phase"]?.stringValue, step: Int(node["step"]?.integerValue ?? 0), numSteps: node["num_steps"]?.integerValue.map { Int($0) },
            loss: node["loss"]?.doubleValue, averageLoss: node["average_loss"]?.doubleValue, tokensPerSecond: node["tokens_per_second"]?.doubleValue)
    }
}
