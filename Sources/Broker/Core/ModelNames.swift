internal import TaskProtocol

/// Which checkpoint a model's name meant lately, so that a task that is leased as it is inserted goes where its model is in memory.
///
/// Only a hint: the store pins the name, and a task runs wherever it is granted.
struct ModelNames: Sendable {
    private static let bound = 10_000
    /// How long a name is trusted, in milliseconds.
    private static let trust: Int64 = 5_000

    private var known: [String: (digest: String, at: Int64)] = [:]

    /// The digest that a name meant.
    func digest(_ name: String) -> String? { known[name]?.digest }

    /// Takes what a name was pinned to; looked at only where the name is not known, or was not looked at for a while.
    mutating func learn(_ name: String, from resolved: @autoclosure () -> [UInt8], now: Int64) {
        if let entry = known[name], now - entry.at < Self.trust { return }
        guard let model = try? ResolvedTask.decode(resolved()).model else { return }
        learn(name, digest: model.sha256, now: now)
    }

    /// Takes what the store said a name means.
    mutating func learn(_ name: String, digest: String, now: Int64) {
        if known.count >= Self.bound { known = [:] }
        known[name] = (digest, now)
    }
}
