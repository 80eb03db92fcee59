internal import Glibc

/// The index over the words of stored texts: built, dropped and looked at on a table that is in use.
///
/// It is what recording a text costs most, and searching is right without it, only slower; so it can be switched off. The table is partitioned, and
/// PostgreSQL builds no partitioned index concurrently. Building goes
/// 1. month by month with `CREATE INDEX CONCURRENTLY`, beside readers and writers, for as long as it takes;
/// 2. then in one short transaction: the table's own index `ON ONLY` it, and `ATTACH PARTITION` for each month's.
///
/// So the table's index is there whole or not at all. A month that is made while step 1 goes on has none, and is found: the short transaction holds
/// off whoever makes or drops months, looks again, and gives up where one lacks it; then the months are gone through anew. A month that is made once
/// the table's index is there gets its own from it, also while that is not valid yet.
///
/// Whatever it does may be cut off at any point; the next call goes on from what it finds. An invalid index is no part of that: it is dropped.
package struct TextIndex {
    private let connection: StoreConnection
    /// How often the short steps are tried.
    private let tries: Int

    /// - Parameters:
    ///   - connection: the schema's owner's, set up for migrations.
    ///   - tries: how often a step asks for the table before it gives up; some 0.3 s each.
    package init(_ connection: StoreConnection, tries: Int = 50) {
        self.connection = connection
        self.tries = tries
    }

    // MARK: Looking

    /// Whether there is one.
    package enum State: String, Sendable {
        case stands
        case missing
        /// Searches do not use it, and recording pays for what there is of it: a change of it was cut off, or is under way.
        case halfBuilt = "half_built"
    }

    /// What stands of it.
    package struct Report: Sendable, Equatable {
        package var state: State
        /// How many months of texts there are.
        package var partitions: Int
        /// How many of them have a valid index.
        package var indexed: Int

        package init(state: State, partitions: Int, indexed: Int) { (self.state, self.partitions, self.indexed) = (state, partitions, indexed) }
    }

    /// Looks; changes nothing.
    /// - Returns: nil where there is no table of texts yet.
    package func report() throws(MigrationError) -> Report? {
        guard let layout = try storing({ () throws(StoreError) in try TextIndexLayout.read(connection) }) else { return nil }
        return Report(
            state: layout.stands ? .stands : layout.isMissing ? .missing : .halfBuilt, partitions: layout.partitions.count,
            indexed: layout.partitions.count { $0.usable != nil })
    }

    // MARK: Changing

    /// Brings it to where it is wanted, under the lock of migrations.
    /// - Parameters:
    ///   - isWanted: builds what is missing of it, or drops all that there is.
    ///   - patienceSeconds: how long to wait for another process that migrates.
    /// - Returns: whether anything was to be done.
    /// - Throws: ``MigrationError/textsInUse(tries:)``, ``MigrationError/locked(seconds:)`` among others; what was done until then stays, for the next call.
    @discardableResult
    package func set(_ isWanted: Bool, patienceSeconds: Int = 120) throws(MigrationError) -> Bool {
        try MigrationLock.holding(connection, patienceSeconds: patienceSeconds) { () throws(MigrationError) in
            for round in 0..<Self.rounds {
                do throws(StoreError) {
                    guard let layout = try TextIndexLayout.read(connection), isWanted ? !layout.stands : !layout.isMissing else { return round > 0 }
                    if isWanted { try build(layout) } else { try drop(layout) }
                } catch {
                    switch error {
                    // A month was dropped, or another transaction was in the way: the next round sees what there is now.
                    case .collision, .refused("42P01", _, _), .refused("42704", _, _): continue
                    case .lockTimeout: throw .textsInUse(tries: tries)
                    default: throw .store(error)
                    }
                }
            }
            throw .textIndexUnsettled(rounds: Self.rounds)
        }
    }

    /// More than one is seldom needed: only where the months change meanwhile.
    private static let rounds = 10

    private func build(_ layout: TextIndexLayout) throws(StoreError) {
        // One that belongs to the table's goes only with it.
        if layout.partitions.contains(where: { $0.indexes.contains { !$0.isValid && $0.isAttached } }) { return try dropParents(layout.parents) }
        for partition in layout.partitions {
            for index in partition.indexes where !index.isValid { try dropAlone(index) }
            guard partition.usable == nil else { continue }
            try connection.executeConcurrently(
                "CREATE INDEX CONCURRENTLY \(partition.indexName) ON \(partition.name) USING gin (text_search)", name: "build_text_index")
        }
        // A server that does not look again at an index whose months were all attached before leaves it invalid: then it is made anew.
        if try joinMonths() == .incomplete, let stuck = try TextIndexLayout.read(connection), !stuck.stands, stuck.isCovered {
            try dropParents(stuck.parents)
        }
    }

    private enum Joined { case whole, incomplete }

    /// Makes the table's index of those of the months. Writers wait for it, readers do not.
    private func joinMonths() throws(StoreError) -> Joined {
        try shortly { () throws(StoreError) in
            // Whoever attaches or drops a month waits, so that what is seen now stays.
            try connection.execute("LOCK TABLE ONLY scriptorium.generations IN SHARE MODE", name: "lock_texts")
            guard let layout = try TextIndexLayout.read(connection), layout.isCovered else { return .incomplete }
            let parent = layout.parents.first?.name ?? Self.name
            if layout.parents.isEmpty {
                try connection.execute(
                    "CREATE INDEX generations_text_search ON ONLY scriptorium.generations USING gin (text_search)", name: "create_text_index")
            }
            let indexes = layout.partitions.compactMap(\.usable)
            let loose = indexes.filter { !$0.isAttached }
            for index in loose.isEmpty ? Array(indexes.prefix(1)) : loose {
                try connection.execute("ALTER INDEX \(parent) ATTACH PARTITION \(index.name)", name: "attach_text_index")
            }
            return try TextIndexLayout.read(connection)?.stands == true ? .whole : .incomplete
        }
    }

    private static let name = "scriptorium.generations_text_search"

    private func drop(_ layout: TextIndexLayout) throws(StoreError) {
        if !layout.parents.isEmpty { try dropParents(layout.parents) }
        for index in layout.partitions.flatMap(\.indexes) where !index.isAttached { try dropAlone(index) }
    }

    /// Drops the table's index with those of the months that belong to it. Readers and writers wait for it.
    private func dropParents(_ parents: [TextIndexLayout.Index]) throws(StoreError) {
        try shortly { () throws(StoreError) in
            // Who makes a month copies the table's indexes first and attaches it afterwards; having looked at the table he holds this up until both
            // are done.
            try connection.execute("DROP INDEX IF EXISTS \(parents.map(\.name).joined(separator: ", "))", name: "drop_text_index")
        }
    }

    private func dropAlone(_ index: TextIndexLayout.Index) throws(StoreError) {
        try connection.executeConcurrently("DROP INDEX CONCURRENTLY IF EXISTS \(index.name)", name: "drop_text_index")
    }

    // MARK: Short steps

    /// A transaction that others wait behind: it asks for each lock for 200 ms, again and again.
    ///
    /// Brokers give up on a lock after 2 s, so no insert may wait for that long. It is also less than a deadlock takes to be found, so that no
    /// other transaction falls for this one.
    private func shortly<Value>(_ body: () throws(StoreError) -> Value) throws(StoreError) -> Value {
        var left = tries
        while true {
            do throws(StoreError) {
                return try connection.transaction { () throws(StoreError) in
                    try connection.execute("SET LOCAL lock_timeout = '200ms'", name: "lock_timeout")
                    return try body()
                }
            } catch {
                left -= 1
                guard case .lockTimeout = error, left > 0 else { throw error }
                // What was locked is free again: those behind it go first.
                usleep(100_000)
            }
        }
    }
}
