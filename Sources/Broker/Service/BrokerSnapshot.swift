package import Measures
package import TaskProtocol

/// What a broker knows of itself and of the queues, for `/readyz` and `/metrics`: a value, renewed several times a second.
package struct BrokerSnapshot: Sendable {
    package var broker: BrokerID
    /// It serves: its sockets are bound and the database answers.
    package var isReady = false
    package var isDraining = false
    package var isDatabaseAway = false
    /// The workers joined here, their slots, and how many tasks they would still take.
    package var workers = 0
    package var slots = 0
    package var credit = 0
    package var leases = 0
    package var waitsAndWatches = 0
    package var requestsInFlight = 0
    /// Depth, running and age of each queue, as the database said last.
    package var queues: [QueueFigures] = []
    package var durability: Durability?
    package var counters = BrokerCounters()
    /// Seconds that transactions took, waiting for a connection included, by kind of request.
    package var database = HistogramFamily(.work, labels: ["request"])
    package var malformedWorkerMessages = 0
    package var droppedReplies = 0

    /// Waiting tasks of all queues.
    package var queueDepth: Int { queues.reduce(0) { $0 + $1.depth } }
    package var running: Int { queues.reduce(0) { $0 + $1.running } }
    package var oldestSeconds: Double { queues.map(\.oldestSeconds).max() ?? 0 }

    package init(broker: BrokerID) { self.broker = broker }
}

extension BrokerCore {
    /// The logic's part of a snapshot.
    package var snapshot: BrokerSnapshot {
        var shot = BrokerSnapshot(broker: id)
        shot.isReady = isReady
        shot.isDraining = isDraining
        shot.isDatabaseAway = isStoreAway
        shot.workers = sessions.count
        shot.slots = sessions.all.values.reduce(0) { $0 + $1.registration.slots }
        shot.credit = sessions.credit
        shot.leases = leases.count
        shot.waitsAndWatches = watchers.count
        shot.requestsInFlight = clients.total
        shot.queues = figures
        shot.durability = durability
        shot.counters = counters
        return shot
    }
}
