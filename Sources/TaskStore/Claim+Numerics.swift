internal import TaskProtocol

/// Tasks that are started again go to workers that compute as the first one did, while there are any.
extension StoreSession {
    private static let liveNumerics = Statement(
        "live_numerics", "SELECT DISTINCT v.version FROM sessions CROSS JOIN LATERAL unnest(sessions.numerics) AS v (version)")

    private static let forgetNumerics = Statement("forget_numerics", "UPDATE hot SET numerics = NULL WHERE hot.task = ANY ($1::uuid[])")

    /// Settles in which version each candidate may run. Where all offers compute as its first worker did, as they do but while a release is rolled out, that
    /// costs nothing.
    func preferringNumerics(_ line: [TaskID: ClaimCandidate], _ offers: [PlacementOffer]) throws(StoreError) -> [TaskID: ClaimCandidate] {
        let offered = offers.map { Set($0.numerics) }
        let strangers = line.filter { _, candidate in
            !candidate.pastNumerics.isEmpty && !offered.allSatisfy { $0.isSuperset(of: candidate.pastNumerics) }
        }
        guard !strangers.isEmpty else { return line }
        let rows = try connection.run(Self.liveNumerics)
        let alive = Set(rows.indices.compactMap { rows.string($0, 0) })
        return line.merging(
            strangers.compactMapValues { candidate in
                guard let precision = Self.precision(candidate.grant.resolved) else { return nil }
                var settled = candidate
                settled.preference = NumericsPreference(
                    past: candidate.pastNumerics, precision: precision, alive: alive, waited: candidate.grant.waitedMilliseconds ?? 0)
                return settled
            }, uniquingKeysWith: { _, settled in settled })
    }

    /// Those that start anew have no past.
    func forgetNumerics(_ tasks: [TaskID]) throws(StoreError) {
        guard !tasks.isEmpty else { return }
        _ = try connection.run(Self.forgetNumerics, [.uuids(tasks)])
    }

    /// What a task computes in; nil where that is not its own to say, or a later release's.
    private static func precision(_ resolved: [UInt8]) -> Precision? {
        switch (try? ResolvedTask.decode(resolved))?.parameters {
        case .generate(let parameters): parameters.precision
        case .finetune(let parameters): parameters.precision
        case .verify, nil: nil
        }
    }
}
