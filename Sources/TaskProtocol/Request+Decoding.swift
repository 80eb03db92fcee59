import Encodings

extension Request {
    /// Reads and checks one payload frame. Never throws: what is wrong stands in ``operation``.
    /// - Parameters:
    ///   - payload: the frame behind the envelope.
    ///   - isDelimited: whether the envelope ends with REQ's delimiter, behind which nothing can be watched.
    ///   - maximumBytes: `--max-request`.
    package static func decode(_ payload: UnsafeRawBufferPointer, isDelimited: Bool, maximumBytes: Int = Limits.requestBytes) -> Request {
        var request = Request(encoding: PayloadEncoding(of: payload), id: .none, operation: .success(.ping))
        do throws(ContractError) {
            guard payload.count <= maximumBytes else {
                throw ContractError(.tooLarge, "the request has \(payload.count) bytes; the limit is \(maximumBytes)")
            }
            let root: Node
            do throws(ContractError) {
                root = try ContractError.parse(payload: payload).root
            } catch {
                // Who asked is told under his id, where that much can be read: he may wait for it.
                if let lenient = lenientRoot(payload) { request.id = (try? RequestID(lenient, member: "id")) ?? .none }
                throw error
            }
            guard root.kind == .map else { throw ContractError(.badRequest, "a request must be a map, not \(root.kind.article)") }
            request.id = try RequestID(root, member: "id")
            request.operation = .success(try RequestReader(root: root, isDelimited: isDelimited, encoding: request.encoding).operation())
        } catch {
            request.operation = .failure(error)
        }
        return request
    }

    /// The map of a payload that is refused for its depth or for U+0000; nil where it cannot be read at all. Bounded, too: each level takes of the
    /// thread's stack.
    private static func lenientRoot(_ payload: UnsafeRawBufferPointer) -> Node? {
        let depth = 200
        return switch PayloadEncoding(of: payload) {
        case .json: try? Document.parse(json: payload, maximumDepth: depth, allowNUL: true).root
        case .messagePack: try? Document.parse(messagePack: payload, maximumDepth: depth, allowNUL: true).root
        }
    }

    /// ``decode(_:isDelimited:maximumBytes:)-(UnsafeRawBufferPointer,_,_)`` of an array.
    package static func decode(_ payload: [UInt8], isDelimited: Bool = false, maximumBytes: Int = Limits.requestBytes) -> Request {
        payload.withUnsafeBytes { decode($0, isDelimited: isDelimited, maximumBytes: maximumBytes) }
    }
}

extension ContractError {
    /// A document of either encoding, its faults as `bad_request`.
    static func parse(payload: UnsafeRawBufferPointer) throws(ContractError) -> Document {
        do throws(DocumentError) { return try Document.parse(payload: payload) } catch { throw ContractError(.badRequest, error.description) }
    }
}

extension RequestID {
    init(_ root: Node, member: String) throws(ContractError) {
        guard let node = root[member] else {
            self = .none
            return
        }
        if node.kind == .integer, let value = node.integerValue {
            self = .integer(value)
        } else if node.kind == .string, node.count <= Self.maximumBytes, let value = node.stringValue {
            self = .string(value)
        } else {
            let message = "\(member) must be an integer, or a string of at most \(Self.maximumBytes) bytes"
            throw ContractError(node.kind == .string ? .invalidArgument : .badRequest, message, field: member)
        }
    }
}

/// Reads the members of one request's map.
private struct RequestReader {
    let root: Node
    let isDelimited: Bool
    let encoding: PayloadEncoding
    private let reader = MemberReader(path: .stored, prefix: "")

    init(root: Node, isDelimited: Bool, encoding: PayloadEncoding) {
        self.root = root
        self.isDelimited = isDelimited
        self.encoding = encoding
    }

    func operation() throws(ContractError) -> Operation {
        guard let node = root["op"] else { throw ContractError(.badRequest, "op is required", field: "op") }
        let name = try reader.string("op", node)
        switch name {
        case "submit": return try submit()
        case "ping":
            try refuseOthers([])
            return .ping
        case "get":
            try refuseOthers(["ids", "results"])
            return .get(ids: try ids(), results: try root["results"].map { node throws(ContractError) in try reader.bool("results", node) } ?? true)
        case "wait": return try wait()
        case "watch":
            try refuseOthers(["task"])
            try refuseDelimiter("op", "watch")
            return .watch(task: try task())
        case "unwatch":
            try refuseOthers(["watch"])
            guard root["watch"] != nil else { throw required("watch") }
            return .unwatch(try RequestID(root, member: "watch"))
        case "cancel":
            try refuseOthers(["ids"])
            return .cancel(ids: try ids())
        case "retry":
            try refuseOthers(["ids"])
            return .retry(ids: try ids())
        case "explain":
            try refuseOthers(["task"])
            return .explain(task: try task())
        case "models":
            try refuseOthers([])
            return .models
        case "datasets":
            try refuseOthers([])
            return .datasets
        case "register":
            try refuseOthers(["model", "dataset"])
            return try Registrations(root: root, reader: reader).operation()
        case "put":
            try refuseText(name)
            try refuseOthers(ArtifactRequests.putNames)
            return .artifact(try ArtifactRequests(root: root, reader: reader).put())
        case "fetch":
            try refuseText(name)
            try refuseOthers(ArtifactRequests.fetchNames)
            return .artifact(try ArtifactRequests(root: root, reader: reader).fetch())
        default:
            if let administration = try AdministrationReader(root: root, reader: reader).administration(name, refuseOthers) {
                return .administer(administration)
            }
            throw ContractError(.badRequest, "\"\(printable(name))\" is not an op", field: "op")
        }
    }

    private func required(_ name: String) -> ContractError { ContractError(.badRequest, "\(name) is required", field: name) }

    private func refuseOthers(_ known: [String]) throws(ContractError) {
        try root.forEachMember { name, value throws(ContractError) in
            if value.isNull { return }
            if name.equals("op") || name.equals("id") || known.contains(where: name.equals) { return }
            throw reader.unknown(name.stringValue ?? "")
        }
    }

    /// Bytes have no word in JSON.
    private func refuseText(_ op: String) throws(ContractError) {
        guard encoding == .messagePack else {
            throw ContractError(.badRequest, "\(op) is asked in MessagePack: JSON cannot carry bytes", field: "op")
        }
    }

    private func refuseDelimiter(_ field: String, _ what: String) throws(ContractError) {
        guard !isDelimited else {
            throw ContractError(
                .badRequest, "\(what) needs a DEALER socket that sends no delimiter: a REQ socket can take one reply only", field: field)
        }
    }

    private func submit() throws(ContractError) -> Operation {
        try refuseOthers(["task", "tasks", "watch"])
        let watch = try root["watch"].map { node throws(ContractError) in try reader.bool("watch", node) } ?? false
        switch (root["task"], root["tasks"]) {
        case (.some, .some): throw ContractError(.invalidArgument, "task and tasks exclude each other", field: "tasks")
        case (nil, nil): throw required("task")
        case (let task?, nil):
            if watch { try refuseDelimiter("watch", "watch") }
            return .submit(SubmitRequest(tasks: [try TaskSubmission.decode(task, path: .task)], isSingle: true, watch: watch))
        case (nil, let tasks?):
            guard !watch else { throw ContractError(.invalidArgument, "watch goes with a single task", field: "watch") }
            return .submit(SubmitRequest(tasks: try list(tasks), isSingle: false, watch: false))
        }
    }

    private func list(_ tasks: Node) throws(ContractError) -> [TaskSubmission] {
        guard tasks.kind == .array else { throw reader.wrongType("tasks", tasks, expected: "a list of tasks") }
        guard (1...Limits.tasks).contains(tasks.count) else { throw reader.outOfRange("tasks", "must hold 1 to \(Limits.tasks) tasks") }
        var submissions: [TaskSubmission] = []
        submissions.reserveCapacity(tasks.count)
        try tasks.forEachElement { element throws(ContractError) in
            submissions.append(try TaskSubmission.decode(element, path: .tasks(submissions.count)))
        }
        return submissions
    }

    private func wait() throws(ContractError) -> Operation {
        try refuseOthers(["task", "timeout_ms"])
        let timeout = try root["timeout_ms"].map { node throws(ContractError) in try reader.int("timeout_ms", node, in: Limits.waitMilliseconds) }
        return .wait(task: try task(), timeoutMilliseconds: timeout ?? Limits.defaultWaitMilliseconds)
    }

    private func task() throws(ContractError) -> TaskID {
        guard let node = root["task"] else { throw required("task") }
        return try reader.uuid("task", node)
    }

    private func ids() throws(ContractError) -> [TaskID] {
        guard let node = root["ids"] else { throw required("ids") }
        guard node.kind == .array else { throw reader.wrongType("ids", node, expected: "a list of task ids") }
        guard (1...Limits.ids).contains(node.count) else { throw reader.outOfRange("ids", "must hold 1 to \(Limits.ids) ids") }
        var ids: [TaskID] = []
        ids.reserveCapacity(node.count)
        try node.forEachElement { element throws(ContractError) in ids.append(try reader.uuid("ids[\(ids.count)]", element)) }
        return ids
    }

    private typealias Limits = Request.Limits
}
