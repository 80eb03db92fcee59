internal import HeapModule
internal import TaskProtocol

/// A `wait` or a `watch` of a client.
struct Watcher: Sendable {
    /// What it waits for.
    enum Kind: Sendable, Equatable {
        /// One reply: the status at the end, or at the deadline.
        case wait(deadline: Int64)
        /// The status at once, then each event up to the terminal one.
        case watch
    }

    /// How far it is.
    enum Phase: Sendable, Equatable {
        /// It came with a submit whose task is being stored. What follows is `waiting`.
        case submitting
        /// The first status is being read. What follows is `waiting`, or its end where the task has ended already.
        case opening
        /// The task has not ended as far as is known.
        case waiting
        /// The last status is being read (`timedOut`: because the deadline passed).
        case closing(timedOut: Bool)
    }

    let number: Int
    let kind: Kind
    let request: RequestReference
    let task: TaskID
    var phase: Phase = .opening
    /// The last state and attempt that it was told, for tasks that run under another broker.
    var state: TaskState = .queued
    var attempt = 0
    /// The number of the last event of ``attempt`` that a watch was told.
    var lastSequence: Int64 = -1
    /// A watch: events that came before the first status was sent.
    var early: [TaskEvent] = []
    /// The task ended while the first status was being read.
    var endedEarly = false
    /// A watch that came with its submit: the reply to that is its first status.
    var isAnswered = false

    /// Whether it was to be answered by now.
    func isOverdue(_ now: Int64) -> Bool { if case .wait(let deadline) = kind { deadline <= now } else { false } }
}

/// Who waits for which task.
struct WatcherTable: Sendable {
    private struct Deadline: Comparable, Sendable {
        let time: Int64
        let number: Int
        static func < (left: Deadline, right: Deadline) -> Bool { (left.time, left.number) < (right.time, right.number) }
    }

    private var all: [Int: Watcher] = [:]
    private var byTask: [TaskID: Set<Int>] = [:]
    private var deadlines = Heap<Deadline>()
    private var lastNumber = 0
    private var lastLooked = TaskID(hi: 0, lo: 0)

    var count: Int { all.count }
    var numbers: [Int] { all.keys.sorted() }

    subscript(number: Int) -> Watcher? {
        get { all[number] }
        set { all[number] = newValue }
    }

    /// - Returns: the watcher's number.
    mutating func open(_ kind: Watcher.Kind, _ request: RequestReference, task: TaskID) -> Int {
        lastNumber += 1
        all[lastNumber] = Watcher(number: lastNumber, kind: kind, request: request, task: task)
        byTask[task, default: []].insert(lastNumber)
        if case .wait(let deadline) = kind { deadlines.insert(Deadline(time: deadline, number: lastNumber)) }
        return lastNumber
    }

    @discardableResult
    mutating func close(_ number: Int) -> Watcher? {
        guard let watcher = all.removeValue(forKey: number) else { return nil }
        byTask[watcher.task]?.remove(number)
        if byTask[watcher.task]?.isEmpty == true { byTask[watcher.task] = nil }
        return watcher
    }

    /// The tasks that somebody waits for.
    var tasks: [TaskID] { byTask.keys.sorted() }

    func watchers(of task: TaskID) -> [Int] { byTask[task]?.sorted() ?? [] }

    func isWatched(_ task: TaskID) -> Bool { byTask[task] != nil }

    /// The watch that a client opened under a request id.
    func watch(of client: [UInt8], id: RequestID) -> Int? {
        all.values.first { $0.kind == .watch && $0.request.id == id && $0.request.address.client == client }?.number
    }

    func watches(of client: [UInt8]) -> [Int] { all.values.filter { $0.kind == .watch && $0.request.address.client == client }.map(\.number) }

    /// Waits whose time is over.
    mutating func takeOverdue(now: Int64) -> [Int] {
        var overdue: [Int] = []
        while let first = deadlines.min, first.time <= now {
            _ = deadlines.popMin()
            if all[first.number] != nil { overdue.append(first.number) }
        }
        return overdue
    }

    var nextDeadline: Int64? { deadlines.min?.time }

    /// Tasks that somebody waits for and that are not led from here, to be looked up; where they are many, each in its turn.
    mutating func takeElsewhere(except isLocal: (TaskID) -> Bool, limit: Int) -> [TaskID] {
        let all = byTask.keys.filter { !isLocal($0) }.sorted()
        guard all.count > limit else { return all }
        let start = all.firstIndex { $0 > lastLooked } ?? 0
        let chosen = (0..<limit).map { all[(start + $0) % all.count] }
        lastLooked = chosen[limit - 1]
        return chosen
    }
}
