import Foundation
import QueueSimulation
import TaskProtocol

/// One script put to PostgreSQL, with all that it answered, so that others can be put through the same.
struct ConformanceRun {
    private struct Said {
        var step: ConformanceStep
        var now: Int64
        /// What the model is to take as drawn in SQL.
        var drawn: TaskID
        var words: String
    }

    let seed: UInt64
    private let start: Int64
    private var text: ConformanceText
    private var said: [Said] = []
    /// All rows, before everything was ended.
    private var rows: [String] = []
    private var rowsPlace = 0
    private var tasks: [TaskID] = []

    private static let steps = 45

    init(seed: UInt64, on store: PostgreSQLUnderTest) throws {
        self.seed = seed
        start = Self.clock()
        text = ConformanceText(start: start)
        var script = ConformanceScript(seed: seed, start: start)
        var looks: [[TaskOutline?]] = []
        text.brokers = script.brokers
        for step in script.opening() { try say(step, &script, &looks, store) }
        for _ in 0..<Self.steps { try say(script.next(), &script, &looks, store) }
        tasks = script.tasks
        rows = try store.rows(of: tasks).map(text.words)
        rowsPlace = said.count
        for step in script.closing() { try say(step, &script, &looks, store) }
    }

    /// The machine's, which is PostgreSQL's, too.
    private static func clock() -> Int64 { Int64((Date().timeIntervalSince1970 * 1000).rounded(.down)) }

    private mutating func say(
        _ step: ConformanceStep, _ script: inout ConformanceScript, _ looks: inout [[TaskOutline?]], _ store: PostgreSQLUnderTest
    ) throws {
        var now = Self.clock()
        var drawn = UUIDValue.random(using: &script.random)
        let words: String
        switch step {
        case .ask(let request):
            let reply = store.perform(request, now: now)
            script.heard(request, reply)
            Self.note(reply, &looks)
            text.sessions = script.allSessions
            words = text.words(reply)
        case .publish(let publication):
            let task = try store.publish(publication, drawn: drawn, now: now)
            if let task, !script.tasks.contains(task) {
                script.published(task)
                (drawn, now) = (task, task.milliseconds)
            }
            words = task?.description ?? "unique_violation"
        case .retry(let look): words = text.words(store.perform(Self.retry(looks[look]), now: now))
        case .bringForward:
            try store.bringForward(milliseconds: ConformanceScript.leap)
            words = ""
        }
        said.append(Said(step: step, now: now, drawn: drawn, words: words))
        if Self.dependsOnPresent(step) { waitForNextMoment() }
    }

    /// Whether ranks come from the present: two of them must stand in the same order for both stores, though each has a present of its own.
    private static func dependsOnPresent(_ step: ConformanceStep) -> Bool {
        switch step {
        case .retry, .ask(.endBackoffs), .publish: true
        case .ask(.fail(let failures)): failures.contains { $0.delayMilliseconds > 0 }
        case .ask(.release(let releases)): releases.contains { $0.delayMilliseconds > 0 }
        default: false
        }
    }

    private static func note(_ reply: StoreReply, _ looks: inout [[TaskOutline?]]) {
        if case .outlines(let outlines) = reply { looks.append(outlines) }
    }

    private static func retry(_ look: [TaskOutline?]) -> StoreRequest {
        .retry(
            look.compactMap { outline in
                guard let outline, let endedAt = outline.endedAt else { return nil }
                return SeenEnd(task: outline.id, attempt: outline.attempt, endedAt: endedAt)
            })
    }

    private func waitForNextMoment() {
        let moment = Self.clock() + 3
        while Self.clock() < moment { usleep(300) }
    }

    /// Puts a store through the same.
    /// - Returns: where it first differs, or nil.
    func difference(of store: some ConformingStore) throws -> String? {
        var looks: [[TaskOutline?]] = []
        for (place, said) in said.enumerated() {
            if place == rowsPlace, let difference = try rowDifference(store) { return difference }
            let words = try answer(of: store, to: said, &looks)
            if words != said.words {
                return "seed \(seed), step \(place): \(said.step)\nPostgreSQL: \(said.words)\nmodel:      \(words)\n\(before(place))"
            }
        }
        return nil
    }

    private func answer(of store: some ConformingStore, to said: Said, _ looks: inout [[TaskOutline?]]) throws -> String {
        switch said.step {
        case .ask(let request):
            let reply = store.perform(request, now: said.now)
            Self.note(reply, &looks)
            return text.words(reply)
        case .retry(let look): return text.words(store.perform(Self.retry(looks[look]), now: said.now))
        case .publish(let publication):
            return try store.publish(publication, drawn: said.drawn, now: said.now)?.description ?? "unique_violation"
        case .bringForward:
            try store.bringForward(milliseconds: ConformanceScript.leap)
            return ""
        }
    }

    /// The steps before that one, which are why.
    private func before(_ place: Int) -> String {
        guard ProcessInfo.processInfo.environment["CONFORMANCE_SEED"] != nil else { return "CONFORMANCE_SEED=\(seed) tells what came before" }
        return said[..<place].enumerated().map { "\($0.offset): \($0.element.step)\n   → \($0.element.words)" }.joined(separator: "\n")
    }

    private func rowDifference(_ store: some ConformingStore) throws -> String? {
        let own = try store.rows(of: tasks).map(text.words)
        for (theirs, ours) in zip(rows, own) where theirs != ours {
            return "seed \(seed), rows\nPostgreSQL: \(theirs)\nmodel:      \(ours)\n\(before(rowsPlace))"
        }
        return rows.count == own.count ? nil : "seed \(seed): \(rows.count) tasks in PostgreSQL, \(own.count) in the model"
    }
}
