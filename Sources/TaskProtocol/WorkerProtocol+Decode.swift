import Encodings

extension WorkerMessage {
    /// Reads one message; fields that it does not know are ignored.
    package static func decode(_ bytes: UnsafeRawBufferPointer) throws(WorkerProtocolError) -> WorkerMessage {
        let fields = try FieldReader(messageIn: bytes)
        switch fields.message {
        case "register": return .register(try WorkerRegistration(fields))
        case "heartbeat": return .heartbeat(try WorkerHeartbeat(fields))
        case "goodbye": return .goodbye(session: try fields.id("session"))
        case "confirm": return .confirm(session: try fields.id("session"), lease: try fields.id("lease"))
        case "started": return .started(try fields.lease())
        case "event": return .event(try fields.lease(), events: try fields.maps("events", WorkerEvent.decode))
        case "progress": return .progress(try fields.lease(), try WorkerProgress(fields), steps: try fields.maps("steps", TrainingStepRecord.decode))
        case "checkpoint":
            let record = try fields.optional("record") { fields, name throws(WorkerProtocolError) in
                try CheckpointRecord.decode(try fields.map(name))
            }
            return .checkpoint(try fields.lease(), step: try fields.count("step"), record: record, resume: try fields.optionalBytes("resume"))
        case "complete":
            return .complete(
                try fields.lease(), generations: try fields.maps("generations", GenerationRecord.decode), result: try fields.optionalBytes("result"),
                checkpoint: try fields.optionalID("checkpoint"))
        case "failed": return .failed(try fields.lease(), error: try fields.contractError(), final: try fields.bool("final"))
        case "release":
            return .release(
                try fields.lease(), reason: try fields.choice("reason", ReleaseReason.self), ran: try fields.bool("ran"),
                resume: try fields.optionalBytes("resume"))
        case "cancelled": return .cancelled(try fields.lease())
        case "artifact_put", "artifact_fetch": return .artifact(number: try fields.int64("number"), try ArtifactOperation(fields))
        case "resolve":
            return .resolve(session: try fields.id("session"), number: try fields.count("number"), model: try fields.string("model"))
        default: throw .unknownMessage(fields.message)
        }
    }

    /// ``decode(_:)-(UnsafeRawBufferPointer)`` of an array.
    package static func decode(_ bytes: [UInt8]) throws(WorkerProtocolError) -> WorkerMessage {
        try bytes.withUnsafeBytes { buffer in Result { () throws(WorkerProtocolError) in try decode(buffer) } }.get()
    }
}

extension BrokerMessage {
    /// Reads one message; fields that it does not know are ignored.
    package static func decode(_ bytes: UnsafeRawBufferPointer) throws(WorkerProtocolError) -> BrokerMessage {
        let fields = try FieldReader(messageIn: bytes)
        switch fields.message {
        case "welcome":
            // A broker of an earlier version names none.
            let peers = try fields.optional("peers") { fields, name throws(WorkerProtocolError) in try fields.maps(name, BrokerAddress.init) }
            return .welcome(broker: try fields.id("broker"), heartbeatMilliseconds: try fields.count("heartbeat_ms"), peers: peers ?? [])
        case "register_please": return .registerPlease
        case "heartbeat": return .heartbeat(beatsOK: try fields.bool("beats_ok"))
        case "grant": return .grant(try WorkerGrant(fields))
        case "cancel": return .cancel(lease: try fields.id("lease"))
        case "recorded": return .recorded(lease: try fields.id("lease"))
        case "checkpoint_recorded":
            return .checkpointRecorded(lease: try fields.id("lease"), step: try fields.count("step"), checkpoint: try fields.optionalID("checkpoint"))
        case "stale": return .stale(lease: try fields.id("lease"))
        case "leave": return .leave(peers: try fields.maps("peers", BrokerAddress.init))
        case "artifact_have", "artifact_data", "artifact_refused": return .artifact(number: try fields.int64("number"), try ArtifactAnswer(fields))
        case "resolved", "unresolved": return .resolved(number: try fields.count("number"), try ResolvedModel.answer(fields))
        default: throw .unknownMessage(fields.message)
        }
    }

    /// ``decode(_:)-(UnsafeRawBufferPointer)`` of an array.
    package static func decode(_ bytes: [UInt8]) throws(WorkerProtocolError) -> BrokerMessage {
        try bytes.withUnsafeBytes { buffer in Result { () throws(WorkerProtocolError) in try decode(buffer) } }.get()
    }
}

extension FieldReader {
    init(messageIn bytes: UnsafeRawBufferPointer) throws(WorkerProtocolError) {
        let document: Document
        do throws(DocumentError) { document = try Document.parse(messagePack: bytes) } catch { throw .document(error) }
        guard document.root.kind == .map, let name = document.root["m"]?.stringValue else { throw .notAMessage }
        self.init(message: name, node: document.root)
    }

    func map(_ field: String) throws(WorkerProtocolError) -> FieldReader {
        guard let value = node[field], value.kind == .map else { throw error(field) }
        return FieldReader(message: "\(message).\(field)", node: value)
    }

    func optionalString(_ field: String) throws(WorkerProtocolError) -> String? {
        try optional(field) { fields, name throws(WorkerProtocolError) in try fields.string(name) }
    }

    func optionalBytes(_ field: String) throws(WorkerProtocolError) -> [UInt8]? {
        try optional(field) { fields, name throws(WorkerProtocolError) in try fields.bytes(name) }
    }

    func optionalID(_ field: String) throws(WorkerProtocolError) -> UUIDValue? {
        try optional(field) { fields, name throws(WorkerProtocolError) in try fields.id(name) }
    }

    func optionalDouble(_ field: String) throws(WorkerProtocolError) -> Double? {
        try optional(field) { fields, name throws(WorkerProtocolError) in try fields.double(name) }
    }

    func optionalCount(_ field: String) throws(WorkerProtocolError) -> Int? {
        try optional(field) { fields, name throws(WorkerProtocolError) in try fields.count(name) }
    }

    func contractError() throws(WorkerProtocolError) -> ContractError {
        ContractError(code: try choice("code", ErrorCode.self), message: try string("message"), field: try optionalString("field"))
    }
}

extension WorkerRegistration {
    fileprivate init(_ fields: FieldReader) throws(WorkerProtocolError) {
        let leases = try fields.list("leases") { node throws(WorkerProtocolError) -> WorkerLease in
            var parts: [Node] = []
            node.forEachElement { parts.append($0) }
            guard parts.count >= 3, let task = parts[0].idValue, let lease = parts[1].idValue, let attempt = parts[2].integerValue,
                (0...(1 << 31)).contains(attempt)
            else { throw fields.error("leases") }
            return WorkerLease(task: task, lease: lease, attempt: Int(attempt))
        }
        self.init(
            protocolVersion: try fields.count("protocol"), session: try fields.id("session"), host: try fields.string("host"),
            pid: try fields.count("pid"), version: try fields.string("version"), numerics: try fields.strings("numerics"),
            instructionSet: try fields.string("instruction_set"), threads: try fields.count("threads"), slots: try fields.count("slots"),
            parameters: try fields.strings("parameters"), models: try fields.strings("models"), leases: leases,
            epoch: try fields.optionalCount("epoch") ?? 0)
    }
}

extension BrokerAddress {
    fileprivate init(_ fields: FieldReader) throws(WorkerProtocolError) {
        self.init(endpoint: try fields.string("endpoint"), publicKey: try fields.optionalString("public_key"))
    }
}

extension WorkerHeartbeat {
    fileprivate init(_ fields: FieldReader) throws(WorkerProtocolError) {
        self.init(
            session: try fields.id("session"), sequence: UInt64(try fields.count("sequence")), leasesCount: try fields.count("leases_count"),
            leasesHash: UInt64(bitPattern: try fields.int64("leases_hash")), freeSlots: try fields.int("free_slots"), idle: try fields.bool("idle"),
            models: try fields.strings("models"), draining: try fields.bool("draining"))
    }
}

extension WorkerGrant {
    fileprivate init(_ fields: FieldReader) throws(WorkerProtocolError) {
        self.init(
            task: try fields.id("task"), lease: try fields.id("lease"), attempt: try fields.count("attempt"), resolved: try fields.bytes("resolved"),
            timeoutSeconds: try fields.optionalDouble("timeout_s"), stallSeconds: try fields.double("stall_s"), alone: try fields.bool("alone"),
            resume: try fields.optionalBytes("resume"))
    }
}

extension WorkerProgress {
    fileprivate init(_ fields: FieldReader) throws(WorkerProtocolError) {
        self.init(
            phase: try fields.choice("phase", Phase.self), done: try fields.count("done"), total: try fields.optionalCount("total"),
            loss: try fields.optionalDouble("loss"), averageLoss: try fields.optionalDouble("average_loss"),
            tokensPerSecond: try fields.optionalDouble("tokens_per_second"))
    }
}

extension WorkerEvent {
    fileprivate static func decode(_ fields: FieldReader) throws(WorkerProtocolError) -> WorkerEvent {
        switch try fields.string("e") {
        case "token":
            .token(
                sample: try fields.count("sample"), draw: try fields.count("draw"), index: try fields.count("index"),
                tokenID: try fields.count("token_id"), text: try fields.string("text"))
        case "sample":
            .sample(
                sample: try fields.count("sample"), promptIndex: try fields.count("prompt_index"), draw: try fields.count("draw"),
                text: try fields.string("text"), finishReason: try fields.string("finish_reason"), step: try fields.optionalCount("step"))
        default: throw fields.error("e")
        }
    }
}
