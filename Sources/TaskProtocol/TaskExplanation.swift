package import Encodings

/// A task's life as the store knows it: who published it, what it was pinned to, each try, and what it waits for. The answer to `explain`.
package struct TaskExplanation: Sendable, Equatable {
    /// Without its result.
    package var status: TaskStatus
    /// The public key or SQL role that published it; nil where clients have none.
    package var publisher: String?
    package var maxAttempts: Int
    package var timeoutSeconds: Double?
    /// Attempts that count against ``maxAttempts``.
    package var failures: Int
    /// Attempts lost with their worker.
    package var losses: Int
    package var cancelRequested: Bool
    /// Nil until it is pinned.
    package var pinned: Pinned?
    /// The last ones, the newest last.
    package var attempts: [Attempt]
    /// Attempts before those.
    package var earlierAttempts: Int
    /// What it was published to wait for.
    package var after: [Parent]
    /// Nil where it is not in line.
    package var line: Line?
    package var queue: QueueRow
    /// When the state was saved that it will go on from.
    package var resumeSavedAt: Int64?

    /// What every attempt runs on.
    package struct Pinned: Sendable, Equatable {
        package var at: Int64
        /// JSON of the model: name, checkpoint, digests; nil for a training from scratch.
        package var model: [UInt8]?
        package var seed: Int64?
        package var seedAssigned: Bool

        package init(at: Int64, model: [UInt8]?, seed: Int64?, seedAssigned: Bool) {
            self.at = at
            self.model = model
            self.seed = seed
            self.seedAssigned = seedAssigned
        }
    }

    /// A process, as far as it is still known.
    package struct Process: Sendable, Equatable {
        package var id: UUIDValue
        package var host: String?
        package var pid: Int?

        package init(id: UUIDValue, host: String?, pid: Int?) {
            self.id = id
            self.host = host
            self.pid = pid
        }
    }

    /// One try.
    package struct Attempt: Sendable, Equatable {
        package var number: Int
        package var worker: Process?
        package var broker: Process?
        package var startedAt: Int64
        package var finishedAt: Int64?
        /// As of `attempts`; nil while it runs.
        package var outcome: String?
        /// JSON: `code`, `message`, `field`; or `reason`, where it was given back.
        package var error: [UInt8]?

        package init(
            number: Int, worker: Process?, broker: Process?, startedAt: Int64, finishedAt: Int64?, outcome: String?, error: [UInt8]?
        ) {
            self.number = number
            self.worker = worker
            self.broker = broker
            self.startedAt = startedAt
            self.finishedAt = finishedAt
            self.outcome = outcome
            self.error = error
        }
    }

    /// A task of its `after`; its state is nil where there is none (any more).
    package struct Parent: Sendable, Equatable {
        package var id: TaskID
        package var state: TaskState?

        package init(id: TaskID, state: TaskState?) {
            self.id = id
            self.state = state
        }
    }

    /// Its place in line: tasks of its queue with a smaller rank. Clients take turns, so that it may start before some of them.
    package struct Line: Sendable, Equatable {
        package var ahead: Int
        /// Counting ended at ``ahead``: there may be more.
        package var isAtLeast: Bool

        package init(ahead: Int, isAtLeast: Bool) {
            self.ahead = ahead
            self.isAtLeast = isAtLeast
        }
    }

    package init(
        status: TaskStatus, publisher: String?, maxAttempts: Int, timeoutSeconds: Double?, failures: Int, losses: Int, cancelRequested: Bool,
        pinned: Pinned?, attempts: [Attempt], earlierAttempts: Int, after: [Parent], line: Line?, queue: QueueRow, resumeSavedAt: Int64?
    ) {
        self.status = status
        self.publisher = publisher
        self.maxAttempts = maxAttempts
        self.timeoutSeconds = timeoutSeconds
        self.failures = failures
        self.losses = losses
        self.cancelRequested = cancelRequested
        self.pinned = pinned
        self.attempts = attempts
        self.earlierAttempts = earlierAttempts
        self.after = after
        self.line = line
        self.queue = queue
        self.resumeSavedAt = resumeSavedAt
    }
}

extension TaskExplanation {
    /// Writes it as `explain` answers it.
    package func write(to writer: inout some PayloadWriter) {
        writer.beginMap(14)
        writer.key("task")
        status.write(to: &writer)
        writer.member("publisher", publisher)
        writer.member("max_attempts", maxAttempts)
        writer.member("timeout_s", timeoutSeconds)
        writer.member("failures", failures)
        writer.member("losses", losses)
        writer.member("cancel_requested", cancelRequested)
        writer.key("pinned")
        if let pinned { pinned.write(to: &writer) } else { writer.null() }
        writer.list("attempts", attempts) { $0.write(to: &$1) }
        writer.member("earlier_attempts", earlierAttempts)
        writer.list("after", after) { parent, writer in
            writer.beginMap(2)
            writer.member("id", parent.id.description)
            writer.member("state", parent.state?.rawValue)
            writer.endMap()
        }
        writer.key("line")
        if let line {
            writer.beginMap(2)
            writer.member("ahead", line.ahead)
            writer.member("at_least", line.isAtLeast)
            writer.endMap()
        } else {
            writer.null()
        }
        writer.key("queue")
        queue.write(to: &writer)
        writer.member("resume_saved_at", resumeSavedAt.map(Timestamp.text))
        writer.endMap()
    }
}

extension TaskExplanation.Pinned {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(4)
        writer.member("at", Timestamp.text(milliseconds: at))
        writer.member("model", json: model)
        writer.member("seed", seed)
        writer.member("seed_assigned", seedAssigned)
        writer.endMap()
    }
}

extension TaskExplanation.Attempt {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(7)
        writer.member("attempt", number)
        for (name, process) in [("worker", worker), ("broker", broker)] {
            writer.key(name)
            if let process { process.write(to: &writer) } else { writer.null() }
        }
        writer.member("started_at", Timestamp.text(milliseconds: startedAt))
        writer.member("finished_at", finishedAt.map(Timestamp.text))
        writer.member("outcome", outcome)
        writer.member("error", json: error)
        writer.endMap()
    }
}

extension TaskExplanation.Process {
    fileprivate func write(to writer: inout some PayloadWriter) {
        writer.beginMap(3)
        writer.member("id", id.description)
        writer.member("host", host)
        writer.member("pid", pid)
        writer.endMap()
    }
}
