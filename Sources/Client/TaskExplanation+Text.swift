/// An explanation for people: a line a fact, in the order of the task's life.
extension TaskExplanation {
    /// The lines.
    /// - Parameters:
    ///   - now: the present, in milliseconds since 1970.
    ///   - clock: how a moment reads on the reader's clock.
    package func lines(now: Int64, clock: @escaping (Int64) -> String) -> [String] {
        let moment = Moments(now: now, clock: clock)
        var facts: [(name: String, text: String)] = [("submitted", submission(moment)), ("pinned", pinning(moment))]
        if earlierAttempts > 0 { facts.append(("attempts", "1 to \(earlierAttempts) are not told here; attempts in SQL holds them")) }
        facts += attempts.map { ("attempt \($0.number)", $0.story(moment)) }
        if failures > 0 || losses > 0 { facts.append(("counted", counted)) }
        if let resumeSavedAt { facts.append(("saved", "\(moment.ago(resumeSavedAt)): it goes on from there")) }
        if cancelRequested { facts.append(("cancel", "asked for: it ends at its next token or training step")) }
        if let reason = task.waitingFor { facts.append(("waits", waiting(reason, moment))) }
        if let finishedAt { facts.append(("ended", "\(moment.ago(finishedAt)): \(task.state)" + (task.error.map { ", \($0)" } ?? ""))) }
        let width = facts.reduce(0) { max($0, $1.name.count) }
        return ["\(task.id)  \(task.kind), \(task.state)"]
            + facts.map { "  \($0.name)\(String(repeating: " ", count: width - $0.name.count))  \($0.text)" }
    }

    private func submission(_ moment: Moments) -> String {
        var parts = ["\(moment.ago(createdAt)) to queue \(queue.name)", "priority \(priority)"]
        if let key { parts.append("key \(key)") }
        if let publisher { parts.append("by \(publisher)") }
        if !after.isEmpty { parts.append("after \(after.count) other\(after.count == 1 ? "" : "s")") }
        return parts.joined(separator: ", ")
    }

    private func pinning(_ moment: Moments) -> String {
        guard let pinned else { return "not yet: a broker pins its names before it first runs" }
        var parts: [String] = []
        if let checkpoint = pinned.checkpoint {
            let name = pinned.model.map { "model \($0), " } ?? ""
            parts.append("\(name)checkpoint \(checkpoint) (sha256 \((pinned.sha256 ?? "").prefix(12))…)")
        }
        if let seed = pinned.seed { parts.append("seed \(seed)" + (pinned.isSeedAssigned ? " (drawn for it)" : "")) }
        return "\(moment.ago(pinned.at))" + (parts.isEmpty ? "" : ": " + parts.joined(separator: ", "))
    }

    private var counted: String {
        var text = "\(failures) of at most \(maxAttempts) failed attempts"
        if losses > 0 { text += "; \(losses) lost with their workers, of which only those in an isolated run count" }
        return text
    }

    private func waiting(_ reason: String, _ moment: Moments) -> String {
        let place = ahead.map { "; \(hasMoreAhead ? "at least " : "")\($0) of its queue \($0 == 1 ? "is" : "are") before it" } ?? ""
        switch reason {
        case "slot": return "for a free slot of a worker" + place
        case "model": return "for a worker to load its model" + place
        case "worker": return "for a worker: none has joined that can run it" + place
        case "run_at": return "for its time, \(moment.until(runAt))"
        case "retry_at": return "to be tried again, \(moment.until(runAt))"
        case "paused": return "for its queue, which is paused" + place
        case "limit": return "for its queue, which runs \(queue.running) and may run \(queue.maxRunning ?? queue.running)" + place
        case "after":
            let open = after.filter { $0.state != "succeeded" }.map { "\($0.id) (\($0.state ?? "gone"))" }
            return "for " + (open.isEmpty ? "a broker's look: what it waited for has succeeded" : open.joined(separator: ", "))
        default: return "for \(reason)" + place
        }
    }
}

extension TaskExplanation.Attempt {
    fileprivate func story(_ moment: Moments) -> String {
        var text = moment.ago(startedAt)
        if let worker { text += " on worker \(worker)" }
        if let broker { text += " by broker \(broker)" }
        guard let outcome else { return text + ": running" }
        text += ", for \(Moments.length((finishedAt ?? startedAt) - startedAt)): "
        switch outcome {
        // The task's end tells of the error.
        case "lost": return text + "lost, its worker died"
        case "released": text += "given back" + (reason.map { " (\($0))" } ?? "")
        case "timed_out": text += "timed out"
        case "superseded": text += "given up, and its late result refused"
        default: text += outcome
        }
        return text + (error.map { ", \($0.code == outcome ? $0.message : $0.description)" } ?? "")
    }
}

/// Moments as a reader sees them.
private struct Moments {
    let now: Int64
    let clock: (Int64) -> String

    func ago(_ time: Int64) -> String { "\(clock(time)) (\(time > now ? "in " : "")\(Self.length(abs(now - time)))\(time > now ? "" : " ago"))" }

    func until(_ time: Int64) -> String { time > now ? ago(time) : "\(clock(time)) (at the next look)" }

    /// A length of time, in one unit that is neither too fine nor too coarse.
    static func length(_ milliseconds: Int64) -> String {
        switch max(0, milliseconds) {
        case let time where time < 1_000: "\(time) ms"
        case let time where time < 10_000: "\(time / 1_000).\(time % 1_000 / 100) s"
        case let time where time < 120_000: "\(time / 1_000) s"
        case let time where time < 7_200_000: "\(time / 60_000) min"
        case let time where time < 172_800_000: "\(time / 3_600_000) h"
        case let time: "\(time / 86_400_000) days"
        }
    }
}
