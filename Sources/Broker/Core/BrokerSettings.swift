package import TaskProtocol

/// The times and bounds of a broker's logic, in milliseconds of its monotonic clock. The defaults are the product's; tests shorten none of them.
package struct BrokerSettings: Sendable {
    /// The longest pause between two looks at what has come due.
    package var tickInterval: Int64 = 250
    /// Between the starts of two beats.
    package var beatInterval: Int64 = 1_500
    /// Committed beats during which a session's counter must stand still before it is swept: four whole intervals have five ends.
    package var beatsUntilDead = 5
    /// Between two heartbeats to a worker.
    package var heartbeatInterval: Int64 = 1_000
    /// After so long without a word a worker is no longer counted among ours: it joined another broker, or died.
    package var workerSilence: Int64 = 10_000
    /// After so long without a word it gets nothing new: two heartbeats are missing.
    package var workerQuiet: Int64 = 2_200
    /// Beats are acknowledged no longer when the last one is older.
    package var beatsOverdue: Int64 = 3_000
    /// A committed lease that its live worker has not confirmed is sent again after so long …
    package var grantRepeat: Int64 = 1_000
    /// … and given back, uncounted, after so long.
    package var grantUnknown: Int64 = 3_000
    /// Leases that differ between worker and broker for so long are listed anew.
    package var leasesDiffer: Int64 = 3_000
    /// Between two comparisons of our leases with the store's.
    package var reconcileInterval: Int64 = 10_000
    /// Those of a worker are compared so long after it has joined, too.
    package var lateGrants: Int64 = 1_000
    /// How long they are compared each second after an answer that may have told of leases was lost.
    package var doubt: Int64 = 15_000
    /// Between two sweeps of what has come due, and two looks at tasks that run elsewhere.
    package var sweepInterval: Int64 = 1_000
    /// The same while the broker is idle.
    package var idleSweepInterval: Int64 = 250
    /// How long due work may stand beside free room before everything is looked at.
    package var idleCreditPatience: Int64 = 3_000
    /// How long a worker is kept free for a queue's task that needs all of one, from the last claim that found the task.
    package var keptFree: Int64 = 5_000
    /// Between two wake-ups of the other brokers.
    package var wakeInterval: Int64 = 20
    /// How long there must be nothing to do before the broker calls itself idle.
    package var idleAfter: Int64 = 500
    /// Between two readings of the queues' figures.
    package var figuresInterval: Int64 = 2_000
    /// Between two readings of what the database promises.
    package var durabilityInterval: Int64 = 10_000
    /// How long history is kept: `--retain-tasks`, `--retain-generations`.
    package var retention = RetentionPolicy()
    /// Between two looks at the months of history …
    package var retentionInterval: Int64 = 300_000
    /// … and after one that was kept from its end: somebody reads a month that is to go.
    package var retentionRepeat: Int64 = 30_000
    /// Before the same request goes to a store that was away.
    package var storeRetry: Int64 = 250
    /// How long a broker that drains waits for another to say that it takes workers.
    package var refugePatience: Int64 = 3_000
    /// Before a broker that the database did not take asks again: somebody has to mend it.
    package var unfitRetry: Int64 = 2_000
    /// Without a sign of life a started task lapses: generate and verify.
    package var stallSeconds: Double = 60
    /// The same for a finetune.
    package var finetuneStallSeconds: Double = 600
    /// A worker ends a timed out attempt itself; the broker does it so much later.
    package var timeoutGrace: Int64 = 3_000
    /// The same for a finetune, which ends its step and saves its state for the next attempt.
    package var finetuneTimeoutGrace: Int64 = 120_000
    /// First pause before a failed task runs again; it doubles with each failure.
    package var retryBase: Int64 = 1_000
    /// The longest such pause.
    package var retryLongest: Int64 = 60_000
    /// How long a snoozed task stays out of line.
    package var snooze: Int64 = 1_000

    /// Requests one client may have in flight.
    package var requestsPerClient = 1_000
    /// Requests of all clients in flight, waits and watches aside.
    package var requestsInFlight = 20_000
    /// Waits and watches of all clients.
    package var watchers = 100_000
    /// How long a submit waits for a key that somebody's open transaction holds.
    package var heldKeyPatience: Int64 = 1_000
    /// Submits that wait so together; of more, the others are `busy` at once.
    package var heldSubmits = 200
    /// Bytes of submits gathered and not yet stored.
    package var submitBytes = 256 << 20
    /// Requests for artifacts in the store's threads at once: their own credit.
    package var artifactsUnderWay = 8
    /// Requests for artifacts that one peer may have waiting.
    package var artifactsPerPeer = 8
    /// Bytes of artifacts that wait for the store's threads.
    package var artifactBytes = 64 << 20
    /// Peers that may have such requests waiting.
    package var artifactPeers = 10_000
    /// A larger request is `too_large` (`--max-request`).
    package var maximumRequestBytes = 16 << 20
    /// A larger reply is `too_large`.
    package var maximumReplyBytes = 64 << 20
    /// Tasks of one transaction, where no single request has more.
    package var batchTasks = 1_000
    /// Bytes of one transaction, likewise.
    package var batchBytes = 8 << 20
    /// Questions of workers which model a reference means that wait for the store together …
    package var modelQuestions = 1_000
    /// … and those of one worker among them. Of more, the others are answered `busy`.
    package var modelQuestionsPerWorker = 64
    /// Training steps of one lease that wait for the store together; of more, the oldest are dropped and counted.
    package var waitingSteps = 10_000
    /// Candidates that a claim looks at.
    package var claimWindow = 1_000
    /// Grants of one claim.
    package var claimGrants = 500

    package init() {}
}
