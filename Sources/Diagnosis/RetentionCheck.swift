internal import TaskStore
internal import TaskProtocol

/// Months of history that should be gone, and what holds them back.
package struct RetentionCheck: Check {
    let held: [(month: String, reason: String)]

    package init(held: [(month: String, reason: String)]) { self.held = held }

    /// Looks, by what brokers were last told to keep.
    /// - Returns: nil where this user may not, or there is no schema: other checks say so.
    package static func read(_ url: String) -> RetentionCheck? {
        guard let connection = try? StoreConnection(url, setup: .history), let months = try? connection.heldMonths() else { return nil }
        return RetentionCheck(held: months.map { ("\($0.month)", $0.reason) })
    }

    package func findings() -> [Finding] {
        guard !held.isEmpty else { return [.ok("retention", "no month is held back")] }
        return held.map {
            .warn("retention", "the \($0.month) should be gone: \($0.reason)", mend: "end or cancel that task, or keep history for longer")
        }
    }
}
