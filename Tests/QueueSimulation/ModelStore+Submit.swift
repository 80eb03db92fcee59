internal import Encodings
package import TaskProtocol

/// Storing tasks, from clients and in SQL.
extension ModelStore {
    func isHeld(_ group: SubmitGroup) -> Bool { group.items.contains { $0.submission.key.map(heldKeys.contains) ?? false } }

    /// Requests with keys, or that wait for tasks, go apart, as another transaction; in each of the two, all look at what stood before it.
    mutating func submit(_ groups: [SubmitGroup]) -> [SubmitOutcome] {
        let keyed = groups.indices.filter { groups[$0].mayMeetLocks }
        let free = groups.indices.filter { !keyed.contains($0) }
        var outcomes = [SubmitOutcome](repeating: .busy, count: groups.count)
        for part in [free, keyed.sorted { Self.firstKey(groups[$0]) < Self.firstKey(groups[$1]) }] {
            let refusals = part.map { refusal(groups[$0]) }
            for (index, refusal) in zip(part, refusals) { outcomes[index] = refusal ?? accept(groups[index]) }
        }
        return outcomes
    }

    private static func firstKey(_ group: SubmitGroup) -> String {
        group.items.compactMap { item in item.submission.key.map { item.submission.queue + "\u{0}" + $0 } }.min() ?? ""
    }

    private func refusal(_ group: SubmitGroup) -> SubmitOutcome? {
        for (index, item) in group.items.enumerated() where item.submission.after.isEmpty && tasks[item.id] == nil {
            if let error = unknownName(item.submission.parameters) { return .refused(item: index, error: error) }
        }
        for (index, item) in group.items.enumerated() {
            if let missing = item.submission.after.firstIndex(where: { tasks[$0] == nil }) {
                return .refused(item: index, error: Self.unknownParent(missing))
            }
        }
        return nil
    }

    static func unknownParent(_ place: Int) -> ContractError { ContractError(.notFound, "there is no such task", field: "after[\(place)]") }

    /// What is wrong with the names in a task's parameters.
    func unknownName(_ parameters: TaskParameters) -> ContractError? {
        if case .verify(let verify) = parameters, texts(of: verify.subject).isEmpty {
            switch verify.subject {
            case .generation: return ContractError(.notFound, "there is no such text", field: "params.generation")
            case .task: return ContractError(.notFound, "no text of such a task is stored", field: "params.task")
            }
        }
        guard let name = Self.modelName(parameters), !models.contains(name) else { return nil }
        return ContractError(.notFound, "there is no such model", field: "params.model")
    }

    /// The task whose texts a verify names.
    private func owner(of subject: VerifyParameters.Subject) -> ModelTask? {
        switch subject {
        case .task(let id): tasks[id]
        case .generation(let id): tasks.values.first { $0.generationIDs.contains(id) }
        }
    }

    /// The stored texts that a verify names. The model knows of each no more than its text and its precision.
    private func texts(of subject: VerifyParameters.Subject) -> [ResolvedText] {
        guard let owner = owner(of: subject) else { return [] }
        return zip(owner.generationIDs, owner.generations).sorted { $0.1.sample < $1.1.sample }.compactMap { id, record in
            if case .generation(let wanted) = subject, wanted != id { return nil }
            let precision = (try? JSONValue.parse(record.params))?["precision"] ?? .string(Precision.float32.rawValue)
            return ResolvedText(generation: id, proof: JSONValue.object(["precision": precision, "text": .string(record.text)]).canonical)
        }
    }

    private static func modelName(_ parameters: TaskParameters) -> String? {
        switch parameters {
        case .generate(let generate): generate.model
        case .finetune(let finetune): finetune.model
        case .verify: nil
        }
    }

    private mutating func accept(_ group: SubmitGroup) -> SubmitOutcome {
        var firsts: [TaskID: TaskID] = [:]
        var own: [QueueKey: SubmitItem] = [:]
        for (index, item) in group.items.enumerated() where mutation != .keyOfManyTasks {
            guard let key = Self.queueKey(item) else { continue }
            if let owner = keys[key] {
                if owner == item.id { continue }
                guard tasks[owner]?.paramsDigest == item.submission.paramsDigest else { return .refused(item: index, error: Self.keyConflict) }
                firsts[item.id] = owner
            } else if let first = own[key] {
                guard first.submission.paramsDigest == item.submission.paramsDigest else { return .refused(item: index, error: Self.keyConflict) }
                firsts[item.id] = first.id
            } else {
                own[key] = item
            }
        }
        return .accepted(
            group.items.map { item in
                if let first = firsts[item.id] { return submitted(first, duplicate: true, offer: nil) }
                return insert(item, client: group.client)
            })
    }

    private static let keyConflict = ContractError(.conflict, "this key was used for a task with another kind or other params", field: "key")

    private static func queueKey(_ item: SubmitItem) -> QueueKey? {
        item.submission.key.map { QueueKey(queue: item.submission.queue, key: Array($0.utf8)) }
    }

    private mutating func insert(_ item: SubmitItem, client: String) -> SubmittedTask {
        let submission = item.submission
        if let key = Self.queueKey(item) { keys[key] = item.id }
        // An id that stands already was inserted by the same request before.
        if let task = tasks[item.id], !(mutation == .endedTaskInsertedAgain && task.state.isTerminal) {
            return submitted(item.id, duplicate: false, offer: item.grant)
        }
        var task = ModelTask(
            id: item.id, kind: submission.kind, queue: submission.queue, priority: submission.priority, maxAttempts: submission.maxAttempts,
            params: submission.submittedParams, paramsDigest: submission.paramsDigest, createdAt: item.id.milliseconds,
            runAt: submission.runAt ?? item.id.milliseconds)
        (task.key, task.client, task.timeoutSeconds, task.after) = (submission.key, client, submission.timeoutSeconds, submission.after)
        (task.seed, task.seedAssigned) = (item.seed, item.seedAssigned)
        if !submission.after.isEmpty {
            let isFree = submission.after.allSatisfy { tasks[$0]?.state == .succeeded }
            task.block = isFree ? .check : .after
            if !isFree { task.parents = Set(submission.after) }
        } else {
            pin(&task, submission.parameters)
            if let runAt = submission.runAt, runAt > now { task.block = .due }
        }
        if let offer = item.grant, sessions[offer.session] != nil || mutation == .leaseWithoutSession, task.isInLine {
            Self.lease(&task, offer.lease, offer.session)
        }
        write(task)
        return submitted(item.id, duplicate: false, offer: item.grant)
    }

    private func submitted(_ id: TaskID, duplicate: Bool, offer: GrantOffer?) -> SubmittedTask {
        guard let task = tasks[id] else { return SubmittedTask(id: id, state: .queued, duplicate: duplicate, queue: "", rank: 0) }
        var grant = task.lease != nil && task.lease == offer?.lease ? self.grant(task, waited: 0) : nil
        // Sent again, it is the grant of the first start, whatever its worker has saved meanwhile.
        grant?.resume = nil
        if task.kind == .verify { grant?.modelKey = task.model.map(task.modelPrecision.modelKey) }
        // What has ended stands nowhere in line.
        let rank = task.state.isTerminal ? 0 : task.rank
        return SubmittedTask(id: id, state: task.state, duplicate: duplicate, queue: task.queue, rank: rank, grant: grant)
    }

    private static let digests = (1...3).map { String(repeating: "\($0)", count: 64) }

    private static func model(_ name: String) -> ResolvedModel {
        ResolvedModel(
            name: name, checkpoint: UUIDValue(hi: 1, lo: 1), sha256: digests[0], manifest: digests[1], tokenizerSHA256: digests[2],
            contextLength: 1_024, lineByLine: false)
    }

    /// What a reference to a model means now.
    func resolve(_ reference: String) -> Result<ResolvedModel, ContractError> {
        models.contains(reference)
            ? .success(Self.model(reference)) : .failure(ContractError(.notFound, "there is no such model", field: "model"))
    }

    /// Turns names into digests, of which the model knows one.
    func pin(_ task: inout ModelTask, _ parameters: TaskParameters) {
        var model = Self.modelName(parameters).map(Self.model)
        var texts: [ResolvedText] = []
        if case .verify(let verify) = parameters {
            texts = self.texts(of: verify.subject)
            model = owner(of: verify.subject).flatMap { try? ResolvedTask.decode($0.resolved ?? []).model }
        }
        task.model = model?.sha256
        switch parameters {
        case .generate(let generate): task.precision = generate.precision
        case .finetune(let finetune): task.precision = finetune.precision
        case .verify: task.precision = nil
        }
        task.resolved =
            ResolvedTask(parameters: parameters, seed: task.seed ?? 1, seedAssigned: task.seedAssigned, model: model, texts: texts).json
    }

    // MARK: In SQL

    /// A task as `scriptorium.submit()` is given it.
    package struct Publication: Sendable {
        /// JSON object.
        package var params: [UInt8]
        package var queue = "default"
        /// Where out of range, it is kept beside the task as it was given.
        package var priority = 0
        package var key: String?
        package var after: [TaskID] = []
        package var runAt: Int64?
        /// The SQL role.
        package var client = ""

        package init(params: [UInt8]) { self.params = params }
    }

    /// Publishes a generate as `scriptorium.submit()` does: unchecked.
    /// - Parameters:
    ///   - id: the one that the function draws.
    ///   - now: the id's time.
    /// - Returns: the task's id, or that of the first with its key; nil where that one's params are others.
    @discardableResult
    package mutating func publish(_ publication: Publication, id: TaskID, now: Int64) -> TaskID? {
        let digest = TaskSubmission.digest(kind: .generate, canonicalParams: publication.params)
        if let key = publication.key.map({ QueueKey(queue: publication.queue, key: Array($0.utf8)) }) {
            if let first = keys[key], let task = tasks[first], mutation != .keyOfManyTasks { return task.paramsDigest == digest ? first : nil }
            keys[key] = id
        }
        let fits = (-100...100).contains(publication.priority)
        var task = ModelTask(
            id: id, kind: .generate, queue: publication.queue, priority: fits ? publication.priority : 0, maxAttempts: 3, params: publication.params,
            paramsDigest: digest, createdAt: now, runAt: publication.runAt ?? now)
        task.publishedPriority = fits ? nil : publication.priority
        (task.key, task.client, task.after) = (publication.key, publication.client, publication.after)
        (task.seed, task.seedAssigned) = (10_000_000 + Int64(id.lo % 90_000_000), true)
        task.block = .check
        if !publication.after.allSatisfy({ tasks[$0]?.state == .succeeded }) { task.parents = Set(publication.after) }
        write(task)
        return id
    }
}
