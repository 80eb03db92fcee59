import DatabaseTestSupport
import Foundation
import Synchronization
import TaskStore
import Testing

/// The index over the words of texts, switched off and on again under the eyes of those who use the table.
@Suite("The text index", .timeLimit(.minutes(3))) struct TextIndexTests {
    /// A migrated database with texts in it, as its owner sees it.
    private struct Place {
        let url: String
        let connection: StoreConnection
        var index: TextIndex { TextIndex(connection) }

        init(texts: Int = 0) throws {
            url = try TemporaryCluster.shared.database()
            connection = try StoreConnection(url, setup: .migration)
            if texts > 0 { try insert(texts, on: connection) }
        }

        func value(_ sql: String) throws -> String? {
            try connection.run(Statement("t\(sql.hashValue)", "SELECT (\(sql))::text")).string(0, 0)
        }

        func insert(_ count: Int, on other: StoreConnection) throws { try other.execute(Self.insertion(count)) }

        /// Texts that hold a common word, and their number.
        static func insertion(_ count: Int) -> String {
            """
            INSERT INTO scriptorium.generations (id, task_id, sample, prompt_index, draw, attempt, model, checkpoint_sha256, prompt, text, seed,
                seed_assigned, rng, numerics, params, precision, prompt_token_ids, token_ids, prompt_tokens, completion_tokens, finish_reason,
                created_at)
            SELECT g.id, g.id, 0, 0, 0, 1, 'demo', '', '', 'whale number' || g.n, 1, true, 'philox', 'float32/1', '{}', 'float32', '{}', '{}', 0, 0,
                'length', scriptorium.uuid_time(g.id)
            FROM (SELECT scriptorium.uuid_v7() AS id, n FROM generate_series(1, \(count)) n) g
            """
        }

        func found(_ word: String) throws -> Int? {
            try value("SELECT count(*) FROM scriptorium.generations WHERE text_search @@ to_tsquery('simple', '\(word)')").flatMap { Int($0) }
        }

        /// Whether a search for a rare word goes through the index.
        func searchesByIndex() throws -> Bool {
            try connection.execute("ANALYZE scriptorium.generations")
            let rows = try connection.run(
                Statement(
                    "plan\(UInt64.random(in: 0...UInt64.max))",
                    "EXPLAIN (COSTS OFF) SELECT id FROM scriptorium.generations WHERE text_search @@ to_tsquery('simple', 'number7')"))
            return rows.indices.contains { rows.string($0, 0)?.contains("_text_search_idx") == true }
        }

        /// GIN indexes over the words on the table and its months: all, or those that are not valid.
        func indexes(where condition: String = "true") throws -> Int? {
            try value(
                """
                SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
                WHERE t.relname LIKE 'generations%' AND c.relam = (SELECT oid FROM pg_am WHERE amname = 'gin')
                    AND pg_get_indexdef(i.indexrelid) LIKE '%text_search)' AND \(condition)
                """
            ).flatMap { Int($0) }
        }

        func months() throws -> Int { try monthNames().count }

        func monthNames() throws -> [String] {
            let rows = try connection.run(
                Statement("months", "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'scriptorium.generations'::regclass"))
            return try rows.indices.map { try rows.requireString($0, 0) }
        }

        /// Waits until a statement that begins so waits for a lock.
        /// - Returns: its process.
        @discardableResult
        func waits(_ statement: String) throws -> String {
            var pid: String?
            try eventually {
                pid = try value(
                    """
                    SELECT (SELECT pid FROM pg_stat_activity
                        WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '\(statement)%')
                    """)
                return pid != nil
            }
            return try #require(pid)
        }

        /// An index on the table and on each month, all valid, each month's a part of the table's.
        func expectWhole(_ location: SourceLocation = #_sourceLocation) throws {
            let months = try months()
            #expect(try index.report() == TextIndex.Report(state: .stands, partitions: months, indexed: months), sourceLocation: location)
            #expect(try indexes() == months + 1 && indexes(where: "NOT i.indisvalid") == 0, sourceLocation: location)
            #expect(try indexes(where: "c.relispartition") == months, sourceLocation: location)
        }
    }

    @Test("switched off there is none anywhere, new months get none, and searching finds the same; on again it is whole, and used")
    func offAndOn() throws {
        let place = try Place(texts: 3_000)
        try place.expectWhole()
        #expect(try place.searchesByIndex() && place.found("number7") == 1)
        #expect(try place.index.set(true) == false)
        #expect(try place.index.set(false) == true)
        #expect(try place.index.report()?.state == .missing)
        #expect(try place.index.set(false) == false)
        try place.connection.execute("SELECT scriptorium.make_partitions(now() + interval '5 months', 1)")
        #expect(try place.indexes() == 0)
        #expect(try !place.searchesByIndex() && place.found("number7") == 1 && place.found("whale") == 3_000)
        #expect(try place.index.set(true) == true)
        try place.expectWhole()
        #expect(try place.searchesByIndex() && place.found("number7") == 1 && place.found("whale") == 3_000)
        try place.connection.execute("SELECT scriptorium.make_partitions(now() + interval '6 months', 1)")
        try place.expectWhole()
        #expect(try place.value("SELECT current_setting('lock_timeout')") == "2s")
    }

    @Test("a schema without texts has nothing to index") func empty() throws {
        let index = TextIndex(try StoreConnection(TemporaryCluster.shared.database(migrated: false), setup: .migration))
        #expect(try index.report() == nil)
        #expect(try index.set(true) == false && index.set(false) == false)
    }

    @Test("a month that is made while the others are built gets its own") func monthMeanwhile() throws {
        let place = try Place(texts: 10)
        try place.index.set(false)
        let holder = try StoreConnection(place.url, setup: .migration)
        try holder.execute("BEGIN")
        try place.insert(1, on: holder)
        let url = place.url
        let building = BlockingCall { try TextIndex(StoreConnection(url, setup: .migration)).set(true) }
        try place.waits("CREATE INDEX CONCURRENTLY")
        let before = try place.months()
        try place.connection.execute("SELECT scriptorium.make_partitions(now() + interval '7 months', 1)")
        #expect(try place.months() != before && place.index.report()?.state == .halfBuilt)
        try holder.execute("COMMIT")
        #expect(try building.value())
        try place.expectWhole()
        #expect(try place.found("whale") == 11)
    }

    @Test("a build that was cut off is finished by the next, and what it left invalid is gone") func cut() throws {
        let place = try Place(texts: 10)
        try place.index.set(false)
        let holder = try StoreConnection(place.url, setup: .migration)
        try holder.execute("BEGIN")
        try place.insert(1, on: holder)
        let url = place.url
        let building = BlockingCall { try TextIndex(StoreConnection(url, setup: .migration)).set(true) }
        let pid = try place.waits("CREATE INDEX CONCURRENTLY")
        #expect(throws: MigrationError.locked(seconds: 1)) { try place.index.set(true, patienceSeconds: 1) }
        #expect(try place.value("SELECT pg_cancel_backend(\(pid))") == "true")
        #expect(throws: MigrationError.self) { try building.value() }
        #expect(try place.indexes(where: "NOT i.indisvalid") == 1)
        #expect(try place.index.report()?.state == .halfBuilt)
        try holder.execute("COMMIT")
        #expect(try place.index.set(true))
        try place.expectWhole()
    }

    @Test("an index of the table that was left without its months, with invalid ones, or all attached and yet invalid, is mended or dropped")
    func leftOver() throws {
        let place = try Place(texts: 10)
        for isWanted in [true, false] {
            // As somebody does by hand, and stops: one month is joined, one is built and loose, one is made from the table's.
            try place.index.set(false)
            let names = try place.monthNames()
            try place.connection.execute(
                """
                CREATE INDEX generations_text_search ON ONLY scriptorium.generations USING gin (text_search);
                CREATE INDEX half_a ON \(names[0]) USING gin (text_search); CREATE INDEX half_b ON \(names[1]) USING gin (text_search);
                ALTER INDEX scriptorium.generations_text_search ATTACH PARTITION scriptorium.half_a;
                UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'scriptorium.half_b'::regclass;
                SELECT scriptorium.make_partitions(now() + interval '\(isWanted ? 8 : 9) months', 1)
                """)
            let report = try #require(try place.index.report())
            #expect(report.state == .halfBuilt && report.indexed == 2, "a month made from an index that is not valid has a valid one")
            #expect(try place.index.set(isWanted))
            if isWanted { try place.expectWhole() } else { #expect(try place.indexes() == 0) }
        }
        try place.index.set(true)
        try place.connection.execute("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'scriptorium.generations_text_search'::regclass")
        #expect(try place.index.report()?.state == .halfBuilt)
        #expect(try place.index.set(true))
        try place.expectWhole()
        // An attached one cannot go alone.
        try place.connection.execute(
            """
            UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'scriptorium.generations_text_search'::regclass
                OR indexrelid = (SELECT min(inhrelid) FROM pg_inherits WHERE inhparent = 'scriptorium.generations_text_search'::regclass)
            """)
        #expect(try place.index.set(true))
        try place.expectWhole()
    }

    @Test("a month that is just being made when the index is dropped keeps none of its own") func monthUnderWay() throws {
        let place = try Place(texts: 10)
        let maker = try StoreConnection(place.url, setup: .migration)
        try maker.execute("BEGIN; CREATE TABLE scriptorium.generations_late (LIKE scriptorium.generations INCLUDING ALL)")
        let url = place.url
        let dropping = BlockingCall { try TextIndex(StoreConnection(url, setup: .migration)).set(false) }
        try place.waits("DROP INDEX")
        try maker.execute(
            """
            ALTER TABLE scriptorium.generations ATTACH PARTITION scriptorium.generations_late
                FOR VALUES FROM (scriptorium.uuid_floor('2040-01-01 00:00+00')) TO (scriptorium.uuid_floor('2040-02-01 00:00+00'));
            COMMIT
            """)
        #expect(try dropping.value())
        #expect(try place.indexes() == 0)
    }

    @Test("somebody who reads for long keeps the index, and is told of; nobody waits behind the attempts for long") func inUse() throws {
        let place = try Place(texts: 10)
        let reader = try StoreConnection(place.url, setup: .migration)
        try reader.execute("BEGIN; SELECT count(*) FROM scriptorium.generations")
        #expect(throws: MigrationError.textsInUse(tries: 2)) { try TextIndex(place.connection, tries: 2).set(false) }
        try place.expectWhole()
        let url = place.url
        let dropping = BlockingCall { try TextIndex(StoreConnection(url, setup: .migration)).set(false) }
        try place.waits("DROP INDEX")
        try reader.execute("COMMIT")
        #expect(try dropping.value())
        #expect(try place.indexes() == 0)
    }

    /// Records texts as a broker, one after another, until it is told to stop.
    private final class Writer: Sendable {
        private let isOver = Atomic(false)
        private let written = Atomic(0)
        private let call = Mutex<BlockingCall<Void>?>(nil)

        init(_ place: Place) {
            let url = TemporaryCluster.url(place.url, as: .broker)
            let sql = Place.insertion(1)
            call.withLock {
                $0 = BlockingCall { [self] in
                    let connection = try StoreConnection(url)
                    while !isOver.load(ordering: .relaxed) {
                        try connection.execute(sql)
                        written.add(1, ordering: .relaxed)
                    }
                }
            }
        }

        var count: Int { written.load(ordering: .relaxed) }

        func tellToStop() { isOver.store(true, ordering: .relaxed) }

        /// - Returns: how many it recorded.
        /// - Throws: what stopped it before.
        func stop() throws -> Int {
            tellToStop()
            try call.withLock { $0 }?.value()
            return count
        }
    }

    @Test("texts are recorded all the while, by brokers that wait for no lock for longer than two seconds") func inserting() throws {
        let place = try Place(texts: 2_000)
        let writers = [Writer(place), Writer(place)]
        defer { for writer in writers { writer.tellToStop() } }
        for _ in 0..<4 {
            let before = writers.map(\.count)
            #expect(try place.index.set(false) && place.index.set(true))
            try eventually { zip(writers, before).allSatisfy { $0.count > $1 } }
        }
        let written = try writers.reduce(0) { try $0 + $1.stop() }
        try place.expectWhole()
        #expect(try place.found("whale") == 2_000 + written)
    }
}
