/// A place of a history where something can go wrong: a message or a statement that is about to be sent.
enum Point {
    /// Between a client, a broker and a worker. Heartbeats are no points of their own: losing them is what ``Mishap/workerStands(_:)`` does.
    case message
    /// A request of a broker to the store. Beats and looks at what is due are none: ``Mishap/databaseAway`` loses those.
    case statement
}

/// One thing that goes wrong at a point.
enum Mishap: Hashable, CustomStringConvertible {
    /// The message is lost.
    case lost
    /// It comes twice, with other messages between.
    case doubled
    /// It comes a second time long after the leases of its time have lapsed.
    case replayed
    /// It comes after others that were sent later.
    case late
    /// It comes after the leases of its time have lapsed.
    case veryLate
    /// The statement does not reach the store, and the broker is told so.
    case unreached
    /// The statement is executed, and the broker is told that the store is away.
    case answerLost
    /// The statement is executed long after the broker gave it up.
    case executedLate
    case brokerDies(Int)
    case workerDies(Int)
    case workerDrains(Int)
    case brokerDrains(Int)
    /// A process stands still (SIGSTOP), long enough to be taken for dead, and goes on as if nothing had been.
    case brokerStands(Int)
    case workerStands(Int)
    /// No broker reaches the database for a while.
    case databaseAway
    /// The client cancels all of its tasks.
    case cancelled

    static let shortDelay: Int64 = 700
    static let longDelay: Int64 = 13_000

    /// What can happen to what is sent at such a point.
    static func inTransit(_ point: Point) -> [Mishap] {
        switch point {
        case .message: [.lost, .doubled, .replayed, .late, .veryLate]
        case .statement: [.unreached, .answerLost, .executedLate]
        }
    }

    /// What can happen to the machines at any point.
    static func toMachines(brokers: Int, workers: Int) -> [Mishap] {
        (0..<brokers).flatMap { [.brokerDies($0), .brokerDrains($0), .brokerStands($0)] }
            + (0..<workers).flatMap { [.workerDies($0), .workerDrains($0), .workerStands($0)] }
            + [.databaseAway, .cancelled]
    }

    var description: String {
        switch self {
        case .lost: "lost"
        case .doubled: "doubled"
        case .replayed: "replayed"
        case .late: "late"
        case .veryLate: "very late"
        case .unreached: "unreached"
        case .answerLost: "answer lost"
        case .executedLate: "executed late"
        case .brokerDies(let index): "broker \(index) dies"
        case .workerDies(let index): "worker \(index) dies"
        case .workerDrains(let index): "worker \(index) drains"
        case .brokerDrains(let index): "broker \(index) drains"
        case .brokerStands(let index): "broker \(index) stands still"
        case .workerStands(let index): "worker \(index) stands still"
        case .databaseAway: "database away"
        case .cancelled: "cancelled"
        }
    }
}

/// A mishap at the so-and-so-many-th point of a history.
struct PlannedMishap: CustomStringConvertible {
    var point: Int
    var mishap: Mishap

    var description: String { "\(point): \(mishap)" }
}
