internal import TaskProtocol

/// Which models workers mean, who have no database: asked before they take a model into memory without a task that names it.
///
/// A reference is resolved as pinning would do it now. A question costs one row of one query, whatever the number of those that wait; an answer that
/// is lost is asked for again, so nothing is remembered here.
extension BrokerCore {
    /// Takes a worker's question. One of a session that has not joined is dropped: it asks once it is welcome. So is one that waits here already.
    mutating func resolve(_ question: ModelQuestion) {
        guard sessions[question.session]?.state == .joined else { return }
        heard(question.session, from: question.address)
        guard ModelReference(question.model) != nil else {
            let message = "a model is a name, name@step, a checkpoint's id or sha256: and a checkpoint digest"
            return answer(question, .failure(ContractError(.invalidArgument, message, field: "model")))
        }
        if isDraining { return answer(question, .failure(Self.shuttingDown)) }
        guard isRegistered, !isStoreAway else {
            return answer(question, .failure(ContractError(.unavailable, "the database is away: ask again", field: nil)))
        }
        var waiting = 0
        let isRepeated = lanes.contains(.models) { work in
            guard case .resolve(let other) = work, other.session == question.session else { return false }
            waiting += 1
            return other.number == question.number
        }
        if isRepeated { return }
        guard waiting < settings.modelQuestionsPerWorker, lanes.waitingCount(.models) < settings.modelQuestions else {
            return answer(question, .failure(ContractError(.busy, "too many models are asked for: ask again", field: nil)))
        }
        lanes.add(.resolve(question), to: .models)
    }

    /// The store says what the references of some questions mean.
    mutating func modelsResolved(_ works: [StoreWork], _ answers: [Result<ResolvedModel, ContractError>]) {
        for (work, resolved) in zip(works, answers) {
            guard case .resolve(let question) = work else { continue }
            // The first task that names it is to go where it will be in memory.
            if case .success(let model) = resolved { modelNames.learn(question.model, digest: model.sha256, now: now) }
            answer(question, resolved)
        }
    }

    mutating func answer(_ question: ModelQuestion, _ resolved: Result<ResolvedModel, ContractError>) {
        tell(question.address, .resolved(number: question.number, resolved))
    }
}
