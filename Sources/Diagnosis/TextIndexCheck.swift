package import TaskStore

/// Whether the index over the words of stored texts is whole or away, as one of the two is what somebody wanted.
package struct TextIndexCheck: Check {
    let state: TextIndex.Report?

    /// - Parameter state: nil where there is no table of texts, or the catalogue could not be read; other checks say why.
    package init(state: TextIndex.Report?) { self.state = state }

    /// Looks, as any user may.
    package static func state(_ url: String) -> TextIndex.Report? {
        guard let connection = try? StoreConnection(url, setup: .migration) else { return nil }
        return try? TextIndex(connection).report()
    }

    package func findings() -> [Finding] {
        guard let state else { return [] }
        switch state.state {
        case .stands: return [.ok("text index", "stands")]
        case .missing: return [.ok("text index", "missing, as after --no-text-search: searching for words reads all texts")]
        case .halfBuilt:
            return [
                .warn(
                    "text index", "half built (\(state.indexed) of \(state.partitions) months): it costs, and no search uses it",
                    mend: "run scriptorium migrate --text-search, or --no-text-search, as the schema's owner")
            ]
        }
    }
}
