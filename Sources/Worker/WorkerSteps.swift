package import TaskProtocol

/// Milliseconds of a monotonic clock; the state machines are told the time and never look at a clock.
package typealias Milliseconds = Int64

/// One connection to one broker; a broker joined again gets another.
package struct LinkID: Hashable, Sendable, Comparable, CustomStringConvertible {
    package let number: UInt64

    package init(number: UInt64) { self.number = number }

    package static func < (left: LinkID, right: LinkID) -> Bool { left.number < right.number }

    package var description: String { "link \(number)" }
}

/// What a ``WorkerCore`` is told.
package enum WorkerInput: Sendable {
    /// A message came in over a link, which may have been left meanwhile.
    case message(BrokerMessage, link: LinkID)
    /// Time passed.
    case tick
    /// The engine has something to say about a task.
    case engine(EngineReport)
    /// SIGTERM: take no new work, finish or give back what is there.
    case drain
}

/// What the engine says about a task that it was given by ``WorkerAction/start(_:)``.
package enum EngineReport: Sendable, Equatable {
    /// The first sequence or step runs.
    case started(LeaseID)
    /// So many of the task's sequences still run or wait: its slots shrink to that.
    case remaining(LeaseID, sequences: Int)
    case events(LeaseID, [WorkerEvent])
    case progress(LeaseID, WorkerProgress, steps: [TrainingStepRecord])
    /// A state was saved as artifacts; the task goes on.
    case checkpoint(LeaseID, step: Int, record: CheckpointRecord?, resume: [UInt8]?)
    /// The task is done; the engine has forgotten it.
    case finished(LeaseID, generations: [GenerationRecord], result: [UInt8]?)
    /// The task failed; the engine has forgotten it.
    case failed(LeaseID, error: ContractError, final: Bool)
    /// The task ended because of ``WorkerAction/stop(_:_:)``; the engine has forgotten it.
    case stopped(LeaseID, resume: [UInt8]?)
    /// There is no memory for the task's model beside those at work, or it takes long to come: the task goes back unstarted.
    case snoozed(LeaseID)
    /// This machine has a fault that is not the task's, so that it goes back unstarted.
    case unfit(LeaseID, MachineFault)
    /// Checkpoint digests of the models in memory now.
    case models([String])
    /// A preload of ``WorkerAction/preload(_:)`` ended: its model has made a token, or what kept it from that.
    case preloaded(Int, ContractError?)
    /// Whether tasks wait for a model that has been on its way for long.
    case loadingLong(Bool)
    /// Whether a task waits until what runs has ended, for the memory that its model needs.
    case makingRoom(Bool)

    /// The lease spoken of, if any.
    package var lease: LeaseID? {
        switch self {
        case .started(let lease), .remaining(let lease, _), .events(let lease, _), .progress(let lease, _, _), .checkpoint(let lease, _, _, _),
            .finished(let lease, _, _), .failed(let lease, _, _), .stopped(let lease, _), .snoozed(let lease), .unfit(let lease, _):
            lease
        case .models, .preloaded, .loadingLong, .makingRoom: nil
        }
    }
}

/// Why a running task is stopped.
package enum StopReason: Sendable, Equatable {
    /// Its client cancelled it.
    case cancelled
    /// `timeout_s` is over.
    case timedOut
    /// The worker drains: save what can be resumed.
    case draining
    /// The lease is lost: nobody wants the result.
    case stale
}

/// What a ``WorkerCore`` wants done, in order.
package enum WorkerAction: Sendable, Equatable {
    /// Open a socket of its own to this broker.
    case connect(LinkID, endpoint: String)
    /// Keep the keys of brokers that one of its brokers named.
    case learnKeys(of: [BrokerAddress])
    /// Close it and throw away what it still holds.
    case disconnect(LinkID)
    case send(LinkID, WorkerMessage)
    /// Hand a task to the engine.
    case start(WorkerGrant)
    /// Stop a task at its next token or step; the engine answers `stopped`, or another end that came first.
    case stop(LeaseID, StopReason)
    /// Take a model into memory and let it make one token; the engine answers ``EngineReport/preloaded(_:_:)``.
    case preload(Preload)
    /// Something for the log.
    case note(WorkerNote)
    /// Everything is given back and said: the process may end.
    case exit
}

/// What is worth a line in the worker's log.
package enum WorkerNote: Sendable, Equatable {
    /// A model that is to be preloaded cannot be found now; said once for each reason.
    case preloadWaits(PreloadRequest, why: String)
    /// It is found and cannot be loaded; it is tried again after a while.
    case preloadFailed(PreloadRequest, why: String, againMilliseconds: Milliseconds)
    /// It is in memory and has made a token.
    case preloaded(PreloadRequest)
}
