internal import TaskProtocol

/// Draining: nothing new is taken, what is under way is committed, then the broker's row goes. Its workers keep their leases: another broker, or the
/// next start of this one, adopts their sessions.
extension BrokerCore {
    mutating func beginDrain() {
        guard !isDraining else { return }
        isDraining = true
        refuseWaitingArtifacts()
        endWatches(watchers.numbers, Self.shuttingDown)
        sayStatus()
        sendWorkersAway()
    }

    static let shuttingDown = ContractError(.unavailable, "the broker is shutting down: ask another, or again")

    /// Ends the drain when nothing is under way any more.
    mutating func finishDrain() {
        guard !isDrained else { return }
        // What waits for others' transactions may wait for long: its workers tell it to the next broker.
        let busy = StoreLane.allCases.contains { $0 != .beat && $0 != .heldTasks && lanes.isBusy($0) }
        if busy || !artifacts.isEmpty { return }
        isDrained = true
        if isRegistered, !isStoreAway { lanes.add(.endBroker, to: .sessions) } else { actions.append(.drained) }
    }
}
