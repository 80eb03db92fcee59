internal import TaskProtocol

/// Draining: nothing new is taken, what is under way is committed, then the broker's row goes. Its workers keep their leases: another broker, or the
/// next start of this one, adopts their sessions.
extension BrokerCore {
    mutating func beginDrain() {
        guard !isDraining else { return }
        isDraining = true
        drainBegan = now
        // Its row is to say so at once.
        timers.beat = nil
        refuseWaitingArtifacts()
        endWatches(watchers.numbers, Self.shuttingDown)
        sayStatus()
        sendWorkersAway()
    }

    /// Whether there are workers to be sent away and others that may take them, of whom none has said yet that it can: this broker has only just started,
    /// and its workers may know no other.
    private var awaitsRefuge: Bool {
        guard let drainBegan, now - drainBegan < settings.refugePatience, !isStoreAway else { return false }
        return !peers.isEmpty && peers.refuges(now: now).isEmpty && sessions.all.values.contains { $0.state == .joined }
    }

    static let shuttingDown = ContractError(.unavailable, "the broker is shutting down: ask another, or again")

    /// Ends the drain when nothing is under way any more.
    mutating func finishDrain() {
        guard !isDrained else { return }
        // What waits for others' transactions may wait for long: its workers tell it to the next broker.
        let busy = StoreLane.allCases.contains { $0 != .beat && $0 != .heldTasks && lanes.isBusy($0) }
        if busy || !artifacts.isEmpty || awaitsRefuge { return }
        isDrained = true
        if isRegistered, !isStoreAway { lanes.add(.endBroker, to: .sessions) } else { actions.append(.drained) }
    }
}
