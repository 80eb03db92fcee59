import Encodings

extension WorkerMessage {
    /// The message as one MessagePack map.
    package var encoded: [UInt8] {
        switch self {
        case .register(let registration): return protocolMessage("register", registration.fieldCount) { registration.write(to: &$0) }
        case .heartbeat(let heartbeat): return protocolMessage("heartbeat", WorkerHeartbeat.fieldCount) { heartbeat.write(to: &$0) }
        case .goodbye(let session): return protocolMessage("goodbye", 1) { $0.member("session", session) }
        case .confirm(let session, let lease):
            return protocolMessage("confirm", 2) {
                $0.member("session", session)
                $0.member("lease", lease)
            }
        case .started(let lease): return protocolMessage("started", lease)
        case .event(let lease, let events):
            return protocolMessage("event", lease, 1) { $0.member("events", maps: events) { $0.write(to: &$1) } }
        case .progress(let lease, let progress, let steps):
            return protocolMessage("progress", lease, WorkerProgress.fieldCount + 1) {
                progress.write(to: &$0)
                $0.member("steps", maps: steps) { $0.writeWire(to: &$1) }
            }
        case .checkpoint(let lease, let step, let record, let resume):
            return protocolMessage("checkpoint", lease, 3) {
                $0.member("step", step)
                $0.key("record")
                if let record { record.writeWire(to: &$0) } else { $0.null() }
                $0.member("resume", binary: resume)
            }
        case .complete(let lease, let generations, let result, let checkpoint):
            return protocolMessage("complete", lease, 3) {
                $0.member("generations", maps: generations) { $0.writeWire(to: &$1) }
                $0.member("result", binary: result)
                $0.member("checkpoint", checkpoint)
            }
        case .failed(let lease, let error, let final):
            return protocolMessage("failed", lease, 4) {
                $0.member("code", error.code.rawValue)
                $0.member("message", error.message)
                $0.member("field", error.field)
                $0.member("final", final)
            }
        case .release(let lease, let reason, let ran, let resume):
            return protocolMessage("release", lease, 3) {
                $0.member("reason", reason.rawValue)
                $0.member("ran", ran)
                $0.member("resume", binary: resume)
            }
        case .cancelled(let lease): return protocolMessage("cancelled", lease)
        case .artifact(let number, let operation): return operation.encoded(number)
        case .resolve(let session, let number, let model): return ResolvedModel.encodedQuestion(session, number, model)
        }
    }
}

extension BrokerMessage {
    /// The message as one MessagePack map.
    package var encoded: [UInt8] {
        switch self {
        case .welcome(let broker, let heartbeatMilliseconds, let peers):
            return protocolMessage("welcome", 3) {
                $0.member("broker", broker)
                $0.member("heartbeat_ms", heartbeatMilliseconds)
                $0.member("peers", addresses: peers)
            }
        case .registerPlease: return protocolMessage("register_please", 0) { _ in }
        case .heartbeat(let beatsOK): return protocolMessage("heartbeat", 1) { $0.member("beats_ok", beatsOK) }
        case .grant(let grant):
            return protocolMessage("grant", grant.held, 5) {
                $0.member("resolved", binary: grant.resolved)
                $0.member("timeout_s", grant.timeoutSeconds)
                $0.member("stall_s", grant.stallSeconds)
                $0.member("alone", grant.alone)
                $0.member("resume", binary: grant.resume)
            }
        case .cancel(let lease): return protocolMessage("cancel", 1) { $0.member("lease", lease) }
        case .recorded(let lease): return protocolMessage("recorded", 1) { $0.member("lease", lease) }
        case .checkpointRecorded(let lease, let step, let checkpoint):
            return protocolMessage("checkpoint_recorded", 3) {
                $0.member("lease", lease)
                $0.member("step", step)
                $0.member("checkpoint", checkpoint)
            }
        case .stale(let lease): return protocolMessage("stale", 1) { $0.member("lease", lease) }
        case .leave(let peers):
            return protocolMessage("leave", 1) { $0.member("peers", addresses: peers) }
        case .artifact(let number, let answer): return answer.encoded(number)
        case .resolved(let number, let answer): return ResolvedModel.encodedAnswer(number, answer)
        }
    }
}

/// A map that names itself in `m`.
func protocolMessage(_ name: String, _ fieldCount: Int, _ fields: (inout MessagePackWriter) -> Void) -> [UInt8] {
    var writer = MessagePackWriter()
    writer.beginMap(fieldCount + 1)
    writer.member("m", name)
    fields(&writer)
    writer.endMap()
    return writer.bytes
}

private func protocolMessage(_ name: String, _ lease: WorkerLease, _ fieldCount: Int = 0, _ fields: (inout MessagePackWriter) -> Void = { _ in })
    -> [UInt8]
{
    protocolMessage(name, fieldCount + 3) {
        $0.member("task", lease.task)
        $0.member("lease", lease.lease)
        $0.member("attempt", lease.attempt)
        fields(&$0)
    }
}

extension MessagePackWriter {
    /// A member with an id of 16 bytes, or nil.
    mutating func member(_ name: String, _ id: UUIDValue?) {
        key(name)
        if let id { binary(id.bytes) } else { null() }
    }

    /// A member with bytes, or nil.
    mutating func member(_ name: String, binary value: [UInt8]?) {
        key(name)
        if let value { binary(value) } else { null() }
    }

    /// A member with an array of maps.
    mutating func member<Element>(_ name: String, maps elements: [Element], _ write: (Element, inout MessagePackWriter) -> Void) {
        key(name)
        beginArray(elements.count)
        for element in elements { write(element, &self) }
        endArray()
    }

    /// A member with the addresses of brokers.
    fileprivate mutating func member(_ name: String, addresses: [BrokerAddress]) {
        member(name, maps: addresses) { address, writer in
            writer.beginMap(2)
            writer.member("endpoint", address.endpoint)
            writer.member("public_key", address.publicKey)
            writer.endMap()
        }
    }
}

extension WorkerRegistration {
    fileprivate var fieldCount: Int { 13 }

    fileprivate func write(to writer: inout MessagePackWriter) {
        writer.member("protocol", protocolVersion)
        writer.member("session", session)
        writer.member("host", host)
        writer.member("pid", pid)
        writer.member("version", version)
        writer.member("numerics", numerics)
        writer.member("instruction_set", instructionSet)
        writer.member("threads", threads)
        writer.member("slots", slots)
        writer.member("parameters", parameters)
        writer.member("models", models)
        writer.member("leases", maps: leases) { lease, writer in
            writer.beginArray(3)
            writer.binary(lease.task.bytes)
            writer.binary(lease.lease.bytes)
            writer.int(Int64(lease.attempt))
            writer.endArray()
        }
        writer.member("epoch", epoch)
    }
}

extension WorkerHeartbeat {
    fileprivate static var fieldCount: Int { 8 }

    fileprivate func write(to writer: inout MessagePackWriter) {
        writer.member("session", session)
        writer.member("sequence", Int(truncatingIfNeeded: sequence))
        writer.member("leases_count", leasesCount)
        writer.member("leases_hash", Int64(bitPattern: leasesHash))
        writer.member("free_slots", freeSlots)
        writer.member("idle", idle)
        writer.member("models", models)
        writer.member("draining", draining)
    }
}

extension WorkerProgress {
    fileprivate static var fieldCount: Int { 6 }

    fileprivate func write(to writer: inout MessagePackWriter) {
        writer.member("phase", phase.rawValue)
        writer.member("done", done)
        writer.member("total", total)
        writer.member("loss", loss)
        writer.member("average_loss", averageLoss)
        writer.member("tokens_per_second", tokensPerSecond)
    }
}

extension WorkerEvent {
    fileprivate func write(to writer: inout MessagePackWriter) {
        switch self {
        case .token(let sample, let draw, let index, let tokenID, let text):
            writer.beginMap(6)
            writer.member("e", "token")
            writer.member("sample", sample)
            writer.member("draw", draw)
            writer.member("index", index)
            writer.member("token_id", tokenID)
            writer.member("text", text)
        case .sample(let sample, let promptIndex, let draw, let text, let finishReason, let step):
            writer.beginMap(7)
            writer.member("e", "sample")
            writer.member("sample", sample)
            writer.member("prompt_index", promptIndex)
            writer.member("draw", draw)
            writer.member("text", text)
            writer.member("finish_reason", finishReason)
            writer.member("step", step)
        }
        writer.endMap()
    }
}
