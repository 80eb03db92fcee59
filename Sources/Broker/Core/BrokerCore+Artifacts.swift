internal import TaskProtocol

/// Artifacts through the broker: for clients without the store, and for workers without it. No database is needed for them.
extension BrokerCore {
    /// Takes a request for an artifact, or refuses it at once.
    mutating func artifact(_ operation: ArtifactOperation, from asker: ArtifactDesk.Asker) {
        if isDraining { return answer(asker, .refused(ContractError(.unavailable, "the broker is shutting down: ask another, or again"))) }
        guard artifacts.add(operation, from: asker) else {
            return answer(asker, .refused(ContractError(.busy, "too many parts of artifacts are under way: nothing of this one was kept, try again")))
        }
        counters.artifactBytesIn += operation.byteCount
        pumpArtifacts()
    }

    /// The store's threads have answered.
    mutating func artifactAnswer(_ ticket: Int, _ reply: ArtifactAnswer) {
        if let asker = artifacts.finish(ticket) {
            if case .data(let data, _) = reply { counters.artifactBytesOut += data.count }
            answer(asker, reply)
        }
        pumpArtifacts()
    }

    /// A drain takes nothing new: what was never handed to the store is refused.
    mutating func refuseWaitingArtifacts() {
        let error = ContractError(.unavailable, "the broker is shutting down: ask another, or again")
        for asker in artifacts.takeWaiting() { answer(asker, .refused(error)) }
    }

    private mutating func pumpArtifacts() {
        while let (ticket, operation) = artifacts.next() { actions.append(.artifact(ticket: ticket, operation)) }
    }

    private mutating func answer(_ asker: ArtifactDesk.Asker, _ reply: ArtifactAnswer) {
        switch asker {
        case .worker(let address, let number): tell(address, .artifact(number: number, reply))
        case .client(let request):
            switch reply {
            case .have(let bytes): answer(request, .have(bytes))
            case .data(let data, let size): answer(request, .data(data, size: size))
            case .refused(let error): refuse(request, error)
            }
        }
    }
}
