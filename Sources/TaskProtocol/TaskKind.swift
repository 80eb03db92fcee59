/// What a task does.
package enum TaskKind: String, Sendable, CaseIterable { case generate, finetune, verify }

/// Where a task stands.
package enum TaskState: String, Sendable, CaseIterable {
    case queued, running, succeeded, failed, cancelled

    /// Whether it stays so (until somebody asks for a `retry`).
    package var isTerminal: Bool { self != .queued && self != .running }
}

/// Why a queued task is not running.
package enum WaitingReason: String, Sendable, CaseIterable {
    /// Workers that can run it are full.
    case slot
    /// Its model is being loaded.
    case model
    /// No worker has joined that can run it.
    case worker
    case runAt = "run_at"
    case after
    /// Its queue runs as many as it may.
    case limit
    case paused
    /// It failed and waits before it is tried again.
    case retryAt = "retry_at"
}

/// The arithmetic that a task asks for.
package enum Precision: String, Sendable, CaseIterable {
    case float32, bfloat16, int8

    /// By which workers and brokers know a checkpoint in memory: its digest, then a slash and the precision where that is not float32.
    package func modelKey(checkpoint: String) -> String { self == .float32 ? checkpoint : "\(checkpoint)/\(rawValue)" }
}

/// Where a task's random numbers come from.
package enum RandomSource: String, Sendable, CaseIterable {
    /// Philox4x32-10 by counter (reproducibility.md 8).
    case philox
    /// The stream of torch-based tools.
    case torch
}

/// Why a text ended.
package enum FinishReason: String, Sendable, CaseIterable {
    /// The end token was drawn.
    case eos
    /// `max_length` or the context was reached.
    case length
    /// A `stop` string occurred.
    case stop
}
