import Encodings
import TaskProtocol
import TaskStore
import Testing

/// How much is read at once: nobody's request may take all memory, and none is worse for another that it was joined with.
@Suite("Reading") struct ReadingTests {
    /// A finished task whose text has so many bytes.
    private func finished(_ bench: Bench, bytes: Int) throws -> TaskID {
        let grant = try bench.running()
        var completion = bench.completion(grant)
        completion.generations = [bench.record(0, text: String(repeating: "x", count: bytes))]
        #expect(try bench.complete([completion]) == [.recorded(.succeeded, nil)])
        return grant.task
    }

    private func hasTexts(_ status: TaskStatus) throws -> Bool {
        try JSONValue.parse(try #require(status.result))["generations"]?.arrayValue?.isEmpty == false
    }

    @Test(
        "results that are too much together are refused whole, so that each goes alone; none of them is cut short for the others",
        .timeLimit(.minutes(2)))
    func results() throws {
        let bench = try Bench()
        let small = try finished(bench, bytes: 10)
        let large = try (0..<3).map { _ in try finished(bench, bytes: 50 << 20) }
        guard case .refused(let error) = bench.ask(.get(large + [small], results: true)) else { return unexpected() }
        #expect(error.code == .tooLarge && error.field == "ids" && error.message.contains("the first 1 of these 4 ids fit"), "\(error)")
        for id in [small] + large { #expect(try hasTexts(bench.status(id))) }
        guard case .statuses(let two) = bench.ask(.get([large[0], small], results: true)) else { return unexpected() }
        #expect(try two.allSatisfy { try hasTexts($0) })
        guard case .statuses(let all) = bench.ask(.get(large + [small], results: false)) else { return unexpected() }
        #expect(all.count == 4)
    }

    @Test("a result that alone is more than a reply holds is announced") func announced() throws {
        let bench = try Bench()
        let grant = try bench.running()
        var completion = bench.completion(grant, texts: 2)
        completion.generations = (0..<2).map { bench.record($0, text: String(repeating: "x", count: 40 << 20)) }
        #expect(try bench.complete([completion]) == [.recorded(.succeeded, nil)])
        let result = try JSONValue.parse(try #require(bench.status(grant.task).result))
        #expect(result["truncated"]?.boolValue == true && result["generations"]?.intValue == 2)
    }

    @Test("the same large task named many times is not read many times") func repeated() throws {
        let bench = try Bench()
        var finetune = bench.finetune(output: "o")
        finetune.submittedParams = Array(#"{"dataset":{"text":"\#(String(repeating: "a ", count: 2 << 20))"}}"#.utf8)
        let task = try bench.submit([bench.item(finetune)])[0]
        guard case .refused(let error) = bench.ask(.get([TaskID](repeating: task.id, count: 1_000), results: false)) else { return unexpected() }
        #expect(error.code == .tooLarge && error.field == "ids" && error.message.contains("the first 15 of these 1000 ids fit"), "\(error)")
        #expect(try bench.status(task.id).params.count > 4 << 20)
        let small = try bench.submit([bench.item()])[0]
        guard case .statuses = bench.ask(.get([small.id, task.id, task.id], results: true)) else { return unexpected() }
    }

    @Test("a verdict is measured, too, and read only where it is asked for") func verdicts() throws {
        let bench = try Bench()
        let ids = try (0..<3).map { _ in
            let grant = try bench.running()
            var completion = bench.completion(grant, texts: 0)
            completion.result = JSONValue.object(["proof": .string(String(repeating: "p", count: 30 << 20))]).serialised
            #expect(try bench.complete([completion]) == [.recorded(.succeeded, nil)])
            return grant.task
        }
        guard case .refused(let error) = bench.ask(.get(ids, results: true)) else { return unexpected() }
        #expect(error.code == .tooLarge && error.message.contains("the first 2 of these 3 ids fit"), "\(error)")
        guard case .statuses(let outlines) = bench.ask(.get(ids, results: false)) else { return unexpected() }
        #expect(outlines.allSatisfy { $0.result == nil })
    }

    @Test("what is published in SQL is checked in batches of bounded size: large tasks are fewer at a time, and all come") func unchecked() throws {
        let bench = try Bench()
        // Random digits, which do not compress.
        try bench.connection.execute(
            """
            SELECT scriptorium.submit('generate', jsonb_build_object('model', 'demo', 'prompt', (
                SELECT string_agg(md5(i::text || n::text), '') FROM generate_series(1, 400000) n)))
            FROM generate_series(1, 5) i
            """)
        var after: TaskID?
        var sizes: [Int] = []
        while true {
            guard case .unchecked(let tasks, _) = bench.ask(.unchecked(after: after, limit: 1_000)) else { return unexpected() }
            guard let last = tasks.last else { break }
            sizes.append(tasks.count)
            after = last.id
        }
        #expect(sizes.reduce(0, +) == 5)
        #expect(sizes.count > 1 && (sizes.max() ?? 0) < 5, "\(sizes)")
    }

    @Test("what PostgreSQL compresses well counts as what it is: it goes to a broker whole") func compressed() throws {
        let bench = try Bench()
        try bench.connection.execute(
            """
            SELECT scriptorium.submit('generate', jsonb_build_object('model', 'demo', 'prompt', repeat('a ', 6000000))) FROM generate_series(1, 5);
            SELECT scriptorium.submit('generate', '{"model": "demo"}')
            """)
        guard case .unchecked(let first, let isCut) = bench.ask(.unchecked(limit: 1_000)) else { return unexpected() }
        #expect(first.count == 3 && isCut, "\(first.count)")
        guard case .unchecked(let rest, let isCutAgain) = bench.ask(.unchecked(after: first.last?.id, limit: 1_000)) else { return unexpected() }
        #expect(rest.count == 3 && !isCutAgain)
        #expect(bench.ask(.unchecked(after: rest.last?.id, limit: 1_000)) == .unchecked([], isCut: false))
    }

    @Test("parameters that no message holds are refused, and the connection lives") func longMessage() throws {
        let bench = try Bench()
        let statement = Statement("long_message", "SELECT octet_length($1::bytea) + octet_length($2::bytea)")
        let half = [UInt8](repeating: 0, count: 1 << 29)
        let error = #expect(throws: StoreError.self) { _ = try bench.connection.run(statement, [.bytes(half), .bytes(half)]) }
        #expect(error == .refused(sqlstate: "54000", statement: "long_message", object: nil))
        #expect(try bench.connection.run(statement, [.bytes([1]), .bytes([2])]).requireInt(0, 0) == 2)
    }
}
