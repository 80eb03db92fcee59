/// One committed beat of a broker and of the sessions joined to it.
package struct BeatRequest: Sendable, Equatable {
    package var broker: BrokerID
    package var sessions: [SessionBeat]
    /// Whether the broker itself is about to go.
    package var isDraining: Bool

    package init(broker: BrokerID, sessions: [SessionBeat], isDraining: Bool = false) {
        self.isDraining = isDraining
        self.broker = broker
        self.sessions = sessions
    }
}

package struct SessionBeat: Sendable, Equatable {
    package var session: SessionID
    package var draining: Bool

    package init(session: SessionID, draining: Bool) {
        self.session = session
        self.draining = draining
    }
}

package struct BeatReply: Sendable, Equatable {
    /// The database's clock when the beat was made.
    package var databaseMilliseconds: Int64
    /// Sessions of the request that are not in the store: their workers must register anew.
    package var unknown: [SessionID]
    /// Every session of the installation with its counter, to find those that stand still.
    package var counters: [SessionCounter]
    /// Leases of the request's sessions whose tasks are to be cancelled.
    package var cancels: [LeaseReference]
    /// Whether the broker's own row still stands; where not, it registers anew.
    package var brokerKnown: Bool
    /// All brokers of the installation, this one among them.
    package var brokers: [BrokerRow]

    package init(
        databaseMilliseconds: Int64, unknown: [SessionID], counters: [SessionCounter], cancels: [LeaseReference], brokerKnown: Bool = true,
        brokers: [BrokerRow] = []
    ) {
        self.brokerKnown = brokerKnown
        self.brokers = brokers
        self.databaseMilliseconds = databaseMilliseconds
        self.unknown = unknown
        self.counters = counters
        self.cancels = cancels
    }
}

/// A broker as its row shows it to the others.
package struct BrokerRow: Sendable, Equatable {
    package var id: BrokerID
    /// Its beats.
    package var counter: Int64
    /// Where it listens for other brokers; nil where its row does not say.
    package var peersEndpoint: String?
    /// Its CURVE public key.
    package var publicKey: String?
    /// It asks to be notified of tasks that are published in SQL.
    package var isIdle: Bool

    package init(id: BrokerID, counter: Int64, peersEndpoint: String?, publicKey: String?, isIdle: Bool = false) {
        self.isIdle = isIdle
        self.id = id
        self.counter = counter
        self.peersEndpoint = peersEndpoint
        self.publicKey = publicKey
    }
}

package struct SessionCounter: Sendable, Equatable {
    package var session: SessionID
    package var counter: Int64
    /// The broker that raised it last.
    package var broker: BrokerID?

    package init(session: SessionID, counter: Int64, broker: BrokerID?) {
        self.session = session
        self.counter = counter
        self.broker = broker
    }
}

/// A session believed dead: it ends only if its counter still is what it was.
package struct DeadSession: Sendable, Equatable {
    package var session: SessionID
    package var counter: Int64

    package init(session: SessionID, counter: Int64) {
        self.session = session
        self.counter = counter
    }
}

package struct SweepReply: Sendable, Equatable {
    /// Sessions that ended with this request.
    package var ended: [SessionID]
    /// Sessions that do not end yet, since somebody's open transaction holds the row of one of their tasks.
    package var standing: [SessionID]
    /// Their leases and what became of the tasks.
    package var settled: [SettledLease]

    package init(ended: [SessionID], settled: [SettledLease], standing: [SessionID] = []) {
        self.standing = standing
        self.ended = ended
        self.settled = settled
    }
}

/// A lease that ended, and what became of its task.
package struct SettledLease: Sendable, Equatable {
    package var reference: LeaseReference
    package var settlement: Settlement

    package init(reference: LeaseReference, settlement: Settlement) {
        self.reference = reference
        self.settlement = settlement
    }
}

/// A process of `scriptorium broker`.
package struct BrokerRegistration: Sendable, Equatable {
    package var id: BrokerID
    package var host: String
    package var pid: Int
    package var version: String
    /// Where others reach it: endpoint by name (`tasks`, `events`, `workers`, `peers`).
    package var endpoints: [String: String]
    package var publicKey: String?

    package init(id: BrokerID, host: String, pid: Int, version: String, endpoints: [String: String], publicKey: String?) {
        self.id = id
        self.host = host
        self.pid = pid
        self.version = version
        self.endpoints = endpoints
        self.publicKey = publicKey
    }
}

/// A process of `scriptorium worker`.
package struct SessionRegistration: Sendable, Equatable {
    package var session: SessionID
    package var broker: BrokerID
    package var host: String
    package var pid: Int
    package var version: String
    package var numerics: [String]
    package var instructionSet: String
    package var threads: Int
    package var slots: Int
    /// Names of the parameters that it knows; empty where it did not say.
    package var parameters: [String]
    /// ``WorkerRegistration/epoch``: a fencing token. What a broker decides by itself over the session's leases (``Failure/epoch``, ``Release/epoch``)
    /// counts until the worker joins another.
    package var epoch: Int
    /// Under which the worker was let in; nil where there are no keys. Another key is another worker, which has heard of the session's id and would take its
    /// place. A worker has one key for as long as its process, and so its session, lives.
    package var publicKey: String?

    /// The answer to one that does not count: nothing changed.
    package static let outranked = ContractError(
        .conflict, "the worker has joined another broker since, or the session is that of another key", field: "epoch")

    /// Whether it counts after an earlier one of the session, which lives or has ended.
    package func counts(after epoch: Int, publicKey: String?) -> Bool { self.epoch >= epoch && Self.fits(self.publicKey, publicKey) }

    /// Whether two keys may be one worker's: where there is none, nothing is known.
    package static func fits(_ key: String?, _ other: String?) -> Bool { key == nil || other == nil || key == other }

    package init(
        session: SessionID, broker: BrokerID, host: String, pid: Int, version: String, numerics: [String], instructionSet: String, threads: Int,
        slots: Int, parameters: [String] = [], epoch: Int = 0, publicKey: String? = nil
    ) {
        self.publicKey = publicKey
        self.parameters = parameters
        self.epoch = epoch
        self.session = session
        self.broker = broker
        self.host = host
        self.pid = pid
        self.version = version
        self.numerics = numerics
        self.instructionSet = instructionSet
        self.threads = threads
        self.slots = slots
    }
}
