/// Where a task stands, in few words: enough for `wait`, events and replies.
package struct TaskOutline: Sendable, Equatable {
    package var id: TaskID
    package var kind: String
    package var queue: String
    package var state: TaskState
    package var attempt: Int
    package var error: ContractError?
    /// When its end was recorded, in microseconds of the database's clock.
    package var endedAt: Int64?

    package init(
        id: TaskID, kind: String, queue: String, state: TaskState, attempt: Int, error: ContractError?, endedAt: Int64? = nil
    ) {
        self.id = id
        self.kind = kind
        self.queue = queue
        self.state = state
        self.attempt = attempt
        self.error = error
        self.endedAt = endedAt
    }
}

/// The end of a task that somebody saw and asks to be undone by a retry. The request keeps it however often it is sent: after an end that came later,
/// a repetition changes nothing.
package struct SeenEnd: Sendable, Equatable {
    package var task: TaskID
    /// Starts until then.
    package var attempt: Int
    /// As of ``TaskOutline/endedAt``: a task cancelled twice while it waited ended twice with one number of starts.
    package var endedAt: Int64

    package init(task: TaskID, attempt: Int, endedAt: Int64) {
        self.task = task
        self.attempt = attempt
        self.endedAt = endedAt
    }
}

/// What the once-a-second sweep found and did.
package struct DueReply: Sendable, Equatable {
    package var databaseMilliseconds: Int64
    /// Tasks put in line now.
    package var ready: [ReadyTask]
    /// Dependents that ended because one of their `after` failed.
    package var ended: [EndedTask]
    /// When the next task, or tick of a schedule, comes due.
    package var nextDueMilliseconds: Int64?
    /// Tasks that wait for their check.
    package var unchecked: Int
    /// Queues with work in line.
    package var queues: [WaitingQueue]
    /// All leases whose tasks are to be cancelled.
    package var cancels: [LeaseReference]
    /// The blocked task up to which this sweep looked, where others follow: where the next goes on.
    package var blockedLookedAt: TaskID?
    /// Schedules whose cron expression this version cannot read: it leaves them to others.
    package var unreadableSchedules: [String]

    package init(
        databaseMilliseconds: Int64, ready: [ReadyTask], ended: [EndedTask], nextDueMilliseconds: Int64?, unchecked: Int, queues: [WaitingQueue],
        cancels: [LeaseReference], blockedLookedAt: TaskID? = nil, unreadableSchedules: [String] = []
    ) {
        self.blockedLookedAt = blockedLookedAt
        self.unreadableSchedules = unreadableSchedules
        self.databaseMilliseconds = databaseMilliseconds
        self.ready = ready
        self.ended = ended
        self.nextDueMilliseconds = nextDueMilliseconds
        self.unchecked = unchecked
        self.queues = queues
        self.cancels = cancels
    }
}

/// A queue that has work in line.
package struct WaitingQueue: Sendable, Equatable {
    package var name: String
    package var oldestRank: Int64
    package var paused: Bool
    package var maxRunning: Int?

    package init(name: String, oldestRank: Int64, paused: Bool, maxRunning: Int?) {
        self.name = name
        self.oldestRank = oldestRank
        self.paused = paused
        self.maxRunning = maxRunning
    }
}

/// A queue's figures for metrics.
package struct QueueFigures: Sendable, Equatable {
    package var name: String
    /// Waiting tasks, whatever holds them back.
    package var depth: Int
    package var running: Int
    /// Age of the oldest task that could run now.
    package var oldestSeconds: Double

    package init(name: String, depth: Int, running: Int, oldestSeconds: Double) {
        self.name = name
        self.depth = depth
        self.running = running
        self.oldestSeconds = oldestSeconds
    }
}

/// What the database promises about commits.
package struct Durability: Sendable, Equatable {
    package var synchronousCommit: String
    package var synchronousStandbys: [String]
    /// The age of the oldest snapshot that holds vacuum back, in transactions.
    package var xminAge: Int64
    /// Its age in seconds.
    package var xminAgeSeconds: Double

    package init(synchronousCommit: String, synchronousStandbys: [String], xminAge: Int64, xminAgeSeconds: Double) {
        self.synchronousCommit = synchronousCommit
        self.synchronousStandbys = synchronousStandbys
        self.xminAge = xminAge
        self.xminAgeSeconds = xminAgeSeconds
    }
}

/// A name and what it means.
package struct ModelRow: Sendable, Equatable {
    package var name: String
    package var checkpoint: UUIDValue
    /// The checkpoint digest.
    package var sha256: String
    /// `sha256:` and the digest of its files' manifest.
    package var uri: String
    package var architecture: String
    package var parameters: Int64
    package var contextLength: Int

    package init(name: String, checkpoint: UUIDValue, sha256: String, uri: String, architecture: String, parameters: Int64, contextLength: Int) {
        self.name = name
        self.checkpoint = checkpoint
        self.sha256 = sha256
        self.uri = uri
        self.architecture = architecture
        self.parameters = parameters
        self.contextLength = contextLength
    }
}

/// A model whose files stand in the artifact store already.
package struct ModelRegistration: Sendable, Equatable {
    package var name: String
    /// The id that its checkpoint gets, where the digest is not filed yet.
    package var checkpointID: UUIDValue
    /// Digest of the manifest, 64 hexadecimal digits.
    package var manifest: String
    /// The checkpoint digest, 64 hexadecimal digits.
    package var sha256: String
    package var tokenizerSHA256: String?
    package var architecture: String
    package var parameters: Int64
    package var contextLength: Int
    package var bytes: Int64
    /// `prepend_bos` and the way texts were joined in training, as the model's `line_by_line` says.
    package var lineByLine: Bool
    /// JSON of config.json.
    package var config: [UInt8]

    package init(
        name: String, checkpointID: UUIDValue, manifest: String, sha256: String, tokenizerSHA256: String?, architecture: String, parameters: Int64,
        contextLength: Int, bytes: Int64, lineByLine: Bool, config: [UInt8]
    ) {
        self.name = name
        self.checkpointID = checkpointID
        self.manifest = manifest
        self.sha256 = sha256
        self.tokenizerSHA256 = tokenizerSHA256
        self.architecture = architecture
        self.parameters = parameters
        self.contextLength = contextLength
        self.bytes = bytes
        self.lineByLine = lineByLine
        self.config = config
    }
}

/// A dataset whose files stand in the artifact store already.
package struct DatasetRegistration: Sendable, Equatable {
    package var name: String
    /// Digest of the manifest, 64 hexadecimal digits.
    package var manifest: String
    package var bytes: Int64
    /// Counted where the dataset is encoded already.
    package var tokens: Int64?
    package var blockSize: Int?
    package var lineByLine: Bool
    package var tokenizerSHA256: String?

    package init(
        name: String, manifest: String, bytes: Int64, tokens: Int64? = nil, blockSize: Int? = nil, lineByLine: Bool = false,
        tokenizerSHA256: String? = nil
    ) {
        self.name = name
        self.manifest = manifest
        self.bytes = bytes
        self.tokens = tokens
        self.blockSize = blockSize
        self.lineByLine = lineByLine
        self.tokenizerSHA256 = tokenizerSHA256
    }
}

package struct DatasetRow: Sendable, Equatable {
    package var name: String
    /// `sha256:` and the digest of the manifest.
    package var uri: String
    package var sha256: String
    package var bytes: Int64
    package var tokens: Int64?
    package var blockSize: Int?
    package var lineByLine: Bool
    package var tokenizerSHA256: String?
    package var createdMilliseconds: Int64

    package init(
        name: String, uri: String, sha256: String, bytes: Int64, tokens: Int64?, blockSize: Int?, lineByLine: Bool, tokenizerSHA256: String?,
        createdMilliseconds: Int64
    ) {
        self.name = name
        self.uri = uri
        self.sha256 = sha256
        self.bytes = bytes
        self.tokens = tokens
        self.blockSize = blockSize
        self.lineByLine = lineByLine
        self.tokenizerSHA256 = tokenizerSHA256
        self.createdMilliseconds = createdMilliseconds
    }
}
