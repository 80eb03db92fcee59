internal import TaskProtocol

/// What each model's tasks and its loading took lately, as this broker saw it.
struct ModelCosts: Sendable {
    private struct Entry: Sendable {
        var run: Double?
        var load: Double?
        var seenAt: Int64
    }

    private static let bound = 1_000
    /// No task is kept waiting beside a free worker for longer, however long a model took to load: those that it waits for may have come to a stand.
    private static let longestLoad: Int64 = 60_000
    /// The weight of the newest figure in the running mean.
    private static let weight = 0.2
    private var entries: [String: Entry] = [:]

    /// A task of a model ran so many milliseconds, from its start to its end.
    mutating func ran(_ key: String, milliseconds: Int64, now: Int64) { update(key, now) { $0.run = Self.mean($0.run, milliseconds) } }

    /// A worker had a model so many milliseconds after it was first asked for it.
    mutating func loaded(_ key: String, milliseconds: Int64, now: Int64) { update(key, now) { $0.load = Self.mean($0.load, milliseconds) } }

    /// What the models cost of which both is known, with the workers that hold them and will take more tasks.
    /// - Parameter kept: a worker that is left to become idle for another task.
    func costs(_ sessions: SessionTable, besides kept: SessionID?, now: Int64) -> [String: ModelCost] {
        var costs: [String: ModelCost] = [:]
        for (key, entry) in entries {
            guard let run = entry.run, let load = entry.load else { continue }
            costs[key] = ModelCost(run: Int64(run), load: min(Int64(load), Self.longestLoad), slots: 0, held: 0)
        }
        guard !costs.isEmpty else { return costs }
        for session in sessions.all.values where session.mayRun {
            for key in session.models where !session.refusesForLong && session.id != kept {
                costs[key]?.slots += session.registration.slots
                costs[key]?.held += session.held
            }
            for (key, since) in session.loading {
                guard let cost = costs[key] else { continue }
                costs[key]?.loadedIn = min(cost.loadedIn ?? .max, max(0, since + cost.load - now))
            }
        }
        return costs
    }

    private mutating func update(_ key: String, _ now: Int64, _ change: (inout Entry) -> Void) {
        if entries[key] == nil, entries.count >= Self.bound, let oldest = entries.min(by: { ($0.value.seenAt, $0.key) < ($1.value.seenAt, $1.key) }) {
            entries[oldest.key] = nil
        }
        var entry = entries[key] ?? Entry(seenAt: now)
        change(&entry)
        entry.seenAt = now
        entries[key] = entry
    }

    private static func mean(_ old: Double?, _ new: Int64) -> Double { old.map { $0 + weight * (Double(new) - $0) } ?? Double(new) }
}
