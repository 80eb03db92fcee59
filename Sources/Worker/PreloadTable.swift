import TaskProtocol

/// The models that a worker is to hold before it is ready, and how far each is.
///
/// A handful of entries, looked through at every event; with none of them outstanding nothing is looked through.
struct PreloadTable: Sendable {
    /// The diagram: wanted → found → loading → ready; a load in vain leads to resting, and from there to wanted again, as the name may mean another
    /// model by then.
    enum State: Sendable, Equatable {
        /// A broker is asked which model it is at `askAt`, and again where no answer came: after `wait`, then twice as long.
        case wanted(askAt: Milliseconds, wait: Milliseconds)
        /// The broker has named it; it waits where a task has the worker to itself.
        case found(ResolvedModel)
        /// The engine has it: it comes into memory and makes its one token.
        case loading
        /// It could not be loaded, and is asked for anew at `until`.
        case resting(until: Milliseconds)
        /// It has made a token. What becomes of the memory later is as with any model.
        case ready
    }

    private struct Entry: Sendable {
        let request: PreloadRequest
        var state = State.wanted(askAt: 0, wait: PreloadTable.firstWait)
        /// Why it is not there, as a broker or the engine said it last.
        var why: String?
        /// Loads in vain so far.
        var failures = 0
    }

    /// A lost question costs so much at first …
    private static let firstWait: Milliseconds = 2_000
    /// … and a broker that knows no such question is not asked more often than this.
    private static let longestWait: Milliseconds = 30_000
    /// A model may be imported, and the database come back, at any time.
    private static let askAgain: Milliseconds = 3_000
    /// What no broker will answer otherwise for as long as nobody mends something.
    private static let askSlowly: Milliseconds = 30_000
    /// Loading in vain costs the tasks here: it is tried again after so long, then twice as long, …
    private static let firstRest: Milliseconds = 30_000
    /// … up to this.
    private static let longestRest: Milliseconds = 300_000

    private var entries: [Entry]
    /// Entries that are not ready.
    private var outstandingCount: Int

    init(_ requests: [PreloadRequest]) {
        entries = requests.map { Entry(request: $0) }
        outstandingCount = entries.count
    }

    var isDone: Bool { outstandingCount == 0 }

    /// Whether the engine is at one.
    var isLoading: Bool { !isDone && entries.contains { $0.state == .loading } }

    /// Why the worker is not ready, a sentence each.
    var outstanding: [String] {
        if isDone { return [] }
        return entries.compactMap { entry in Self.reason(entry).map { "the model \(entry.request) of --preload is not ready: \($0)" } }
    }

    private static func reason(_ entry: Entry) -> String? {
        switch entry.state {
        case .ready: nil
        case .wanted: entry.why ?? "no broker has said yet which model that is"
        case .found: "a task that has the worker to itself comes first"
        case .loading: "it is being loaded"
        case .resting: "\(entry.why ?? "it cannot be loaded"); it is tried again from time to time"
        }
    }

    // MARK: Asking

    /// Another broker was joined, which was not asked yet.
    mutating func askAnew(now: Milliseconds) {
        if isDone { return }
        for index in entries.indices {
            if case .wanted = entries[index].state { entries[index].state = .wanted(askAt: now, wait: Self.firstWait) }
        }
    }

    /// Questions for the joined broker.
    mutating func dueQuestions(now: Milliseconds, ask: (_ number: Int, _ model: String) -> Void) {
        if isDone { return }
        for index in entries.indices {
            if case .resting(let until) = entries[index].state, now >= until { entries[index].state = .wanted(askAt: now, wait: Self.firstWait) }
            guard case .wanted(let askAt, let wait) = entries[index].state, now >= askAt else { continue }
            entries[index].state = .wanted(askAt: now + wait, wait: min(wait * 2, Self.longestWait))
            ask(index, entries[index].request.model)
        }
    }

    /// A broker has answered. One that comes twice, or late, changes nothing.
    /// - Returns: what the log should say; nil where it has said so.
    mutating func resolved(_ number: Int, _ answer: Result<ResolvedModel, ContractError>, now: Milliseconds) -> WorkerNote? {
        guard entries.indices.contains(number), case .wanted = entries[number].state else { return nil }
        switch answer {
        case .success(let model):
            entries[number].state = .found(model)
            return nil
        case .failure(let error):
            let isSoon = [.notFound, .unavailable, .busy].contains(error.code)
            entries[number].state = .wanted(askAt: now + (isSoon ? Self.askAgain : Self.askSlowly), wait: Self.firstWait)
            let wasSaid = entries[number].why == error.message
            entries[number].why = error.message
            return wasSaid ? nil : .preloadWaits(entries[number].request, why: error.message)
        }
    }

    // MARK: Loading

    /// What the engine is to be given now.
    mutating func takeFound() -> [Preload] {
        if isDone { return [] }
        var found: [Preload] = []
        for index in entries.indices {
            guard case .found(let model) = entries[index].state else { continue }
            entries[index].state = .loading
            found.append(Preload(number: index, model: model, precision: entries[index].request.precision))
        }
        return found
    }

    /// The model has made its token.
    mutating func loaded(_ number: Int) -> WorkerNote? {
        guard entries.indices.contains(number), entries[number].state == .loading else { return nil }
        entries[number].state = .ready
        entries[number].why = nil
        outstandingCount -= 1
        return .preloaded(entries[number].request)
    }

    /// The engine could not load it, or it made no token.
    mutating func failed(_ number: Int, why: String, now: Milliseconds) -> WorkerNote? {
        guard entries.indices.contains(number), entries[number].state == .loading else { return nil }
        let rest = min(Self.firstRest << min(entries[number].failures, 8), Self.longestRest)
        entries[number].failures += 1
        entries[number].state = .resting(until: now + rest)
        entries[number].why = why
        return .preloadFailed(entries[number].request, why: why, againMilliseconds: rest)
    }
}
