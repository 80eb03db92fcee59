import Encodings
import Generation
import TaskProtocol
import TestSupport
import Testing
import Worker

@Suite struct VerifyExecutorTests {
    private static let subject = VerifyParameters.Subject.task(TaskID(hi: 3, lo: 1))

    private static func verify(_ method: VerifyParameters.Method? = nil) -> TaskParameters {
        .verify(VerifyParameters(subject: subject, method: method))
    }

    /// A bench whose engine generated some texts.
    private func generated(
        signingKey: SigningKey? = nil, _ change: (inout GenerateParameters) -> Void = { ($0.n, $0.minLength) = (3, 12) }
    ) throws -> (bench: EngineBench, model: ResolvedModel, records: [GenerationRecord]) {
        var bench = try EngineBench(signingKey: signingKey)
        let model = try bench.model()
        let lease = bench.start(EngineBench.generate(change), model: model)
        return (bench, model, try #require(bench.run().records(of: lease)))
    }

    @Test("the texts of a task are proved, each with its verdict and proof", arguments: [nil, VerifyParameters.Method.replay])
    func verifies(method: VerifyParameters.Method?) throws {
        var (bench, model, records) = try generated {
            ($0.n, $0.logprobs, $0.schema, $0.schemaTokens) = (3, 1, true, ["the"])
        }
        let lease = bench.start(Self.verify(method), model: model, texts: try EngineBench.texts(records))
        let reports = bench.run()
        #expect(reports.contains(.started(lease)))
        let result = try #require(reports.result(of: lease))
        #expect(result["verified"] == true && result["reason"] == .null && result["first_difference"] == .null)
        #expect(result["method"] == .string(method?.rawValue ?? "forward"))
        let verdicts = try #require(result["verdicts"]?.arrayValue)
        #expect(verdicts.count == 3)
        for (verdict, record) in zip(verdicts, records) {
            #expect(verdict["verified"] == true && (verdict["surprisal_bits"] == .null) == (method == .replay))
            #expect(verdict["proof"]?["record_sha256"] == .string(record.recordSHA256) && verdict["proof"]?["text"] == .string(record.text))
        }
    }

    @Test("texts of each precision are proved with the model in that precision", arguments: [Precision.bfloat16, .int8])
    func precisions(precision: Precision) throws {
        var (bench, model, records) = try generated { ($0.n, $0.precision) = (2, precision) }
        let lease = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records))
        let result = try #require(bench.run().result(of: lease))
        #expect(result["verified"] == true)
        let narrow = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records) { $0["precision"] = "float16" })
        #expect(bench.run().result(of: narrow)?["verified"] != true)
    }

    @Test("one text has no list, and its proof is proved anywhere")
    func one() throws {
        var (bench, model, records) = try generated { $0.n = 1 }
        let lease = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records))
        let result = try #require(bench.run().result(of: lease))
        #expect(result["verified"] == true && result["verdicts"] == nil)
        let claim = try Claim(try #require(result["proof"]))
        #expect(claim.canonicalRecord.isEmpty == false && claim.recordSHA256 == records[0].recordSHA256)
        #expect(SHA256Digest.hex(of: claim.canonicalRecord) == records[0].recordSHA256)
    }

    @Test("a changed row is false, with the first difference and the row's id")
    func changed() throws {
        var (bench, model, records) = try generated()
        var texts = try EngineBench.texts(records)
        texts[1] = try EngineBench.texts(records) { proof in
            var ids = proof["token_ids"]?.arrayValue ?? []
            ids[2] = ids[2] == 9 ? 8 : 9
            proof["token_ids"] = .array(ids)
        }[1]
        let lease = bench.start(Self.verify(), model: model, texts: texts)
        let result = try #require(bench.run().result(of: lease))
        #expect(result["verified"] == false && result["reason"] == "token_differs")
        let difference = try #require(result["first_difference"])
        #expect(difference["generation"] == .string(texts[1].generation.description) && difference["token"] == 2)
        #expect(difference["expected"] == .integer(Int64(records[1].tokenIDs[2])))
        #expect(result["reasons"]?.arrayValue?.contains("record_changed") == true)
        #expect(result["verdicts"]?.arrayValue?.map { $0["verified"] } == [true, false, true])
        let edited = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records) { $0["text"] = "another" })
        #expect(bench.run().result(of: edited)?["reason"] == "text_differs")
    }

    @Test("weights that are gone leave it undecided: no checkpoint, no artifact, or others than the digest says")
    func missing() throws {
        var (bench, model, records) = try generated()
        let texts = try EngineBench.texts(records)
        let unknown = bench.start(Self.verify(), texts: texts)
        var gone = model
        gone.manifest = String(repeating: "a", count: 64)
        let dropped = bench.start(Self.verify(), model: gone, texts: texts)
        var other = model
        other.sha256 = String(repeating: "b", count: 64)
        let others = bench.start(Self.verify(), model: other, texts: texts)
        let reports = bench.run()
        for lease in [unknown, dropped, others] {
            let result = try #require(reports.result(of: lease))
            #expect(result["verified"] == .null && result["reason"] == "weights_missing")
        }
        let changed = bench.start(Self.verify(), texts: try EngineBench.texts(records) { $0["seed"] = 1 })
        #expect(bench.run().result(of: changed)?["verified"] == false)
        let later = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records) { $0["numerics"] = "float32/9" })
        #expect(bench.run().result(of: later)?["reason"] == "record_changed")
    }

    @Test("a text of another arithmetic, whose record has its digest, is undecided")
    func numerics() throws {
        var (bench, model, records) = try generated { $0.n = 1 }
        let texts = try EngineBench.texts(records) { proof in
            proof["numerics"] = "float32/9"
            var record = proof
            for name in ["record_sha256", "signature", "text", "schema", "logprobs", "mean_logprob"] { record[name] = nil }
            proof["record_sha256"] = .string(SHA256Digest.hex(of: JSONValue.object(record).canonical))
        }
        let lease = bench.start(Self.verify(), model: model, texts: texts)
        let result = try #require(bench.run().result(of: lease))
        #expect(result["verified"] == .null && result["reason"] == "unknown_numerics" && result["reasons"] == ["unknown_numerics"])
    }

    @Test("a verify runs beside a generate that goes on, and stops between two steps")
    func stops() throws {
        var (bench, model, records) = try generated { ($0.n, $0.maxLength) = (8, 60) }
        let texts = try EngineBench.texts(records)
        let verify = bench.start(Self.verify(.replay), model: model, texts: texts)
        let generate = bench.start(EngineBench.generate { $0.n = 2 }, model: model)
        _ = bench.run { $0.contains(.started(verify)) && $0.contains(.started(generate)) }
        bench.engine.stop(verify, .cancelled)
        let reports = bench.run()
        #expect(reports.stopped(verify).isStopped && reports.result(of: verify) == nil)
        #expect(reports.texts(of: generate)?.count == 2)
        let again = bench.start(Self.verify(), model: model, texts: texts)
        #expect(bench.run().result(of: again)?["verified"] == true)
    }

    @Test("a worker with a key signs each record, and the signature stands in the proof")
    func signs() throws {
        let key = SigningKey.generate()
        var (bench, model, records) = try generated(signingKey: key)
        for record in records {
            let signature = try #require(record.signature.flatMap(NamedSignature.init))
            #expect(signature.key == key.publicKey)
        }
        let lease = bench.start(Self.verify(), model: model, texts: try EngineBench.texts(records))
        let result = try #require(bench.run().result(of: lease))
        #expect(result["verified"] == true && result["proof"]?["signature"] == records[0].signature.map { .string($0) })
        let swapped = bench.start(
            Self.verify(), model: model, texts: try EngineBench.texts(records) { $0["signature"] = records[1].signature.map { .string($0) } })
        #expect(bench.run().result(of: swapped)?["reason"] == "signature_invalid")
    }

    @Test("a verify needs one slot, and its texts travel in its resolved task")
    func demand() throws {
        let task = ResolvedTask(
            parameters: Self.verify(), seed: 0, seedAssigned: false,
            texts: [ResolvedText(generation: UUIDValue(hi: 7, lo: 1), proof: Array(#"{"text":"a"}"#.utf8))])
        #expect(try TaskDemand(resolved: task.json) == .sequences(1))
        #expect(try ResolvedTask.decode(task.json) == task)
    }

    @Test("a proof record's parameters are the task's, whichever way they are read", arguments: 0..<60)
    func parameters(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        func one<Value>(_ values: [Value]) -> Value { values[Int.random(in: values.indices, using: &generator)] }
        var given = GenerateParameters(model: "demo")
        (given.temperature, given.hasTemperatureList) = one([([0.7], false), ([1e-7], false), ([0.5, 2], true)])
        (given.topK, given.topP, given.minP, given.typicalP) = (one([0, 40]), one([1, 0.123456789]), one([0, 1e-5]), one([1, 0.3]))
        (given.repetitionPenalty, given.noRepeatNgramSize, given.minLength) = (one([1, 1.2]), one([0, 3]), one([nil, 7]))
        (given.doSample, given.numBeams, given.lengthPenalty, given.earlyStopping) = (
            one([true, false]), one([1, 4]), one([1, -0.5]), one([.no, .yes, .never])
        )
        (given.badWords, given.bannedTokens, given.stop, given.truncate) = (
            one([[], ["x"]]), one([[], [1, 2]]), one([[], ["é", "\n"]]), one([nil, "T"])
        )
        (given.lstrip, given.includePrefix, given.nonemptyOutput, given.deduplicate) = (
            one([true, false]), one([true, false]), one([true, false]), one([true, false])
        )
        (given.schema, given.schemaTokens, given.schemaReturn) = one([(false, nil, nil), (true, ["a", "b"], ["a"])])
        (given.rng, given.logprobs, given.slidingWindow, given.prependBOS) = (
            one([.philox, .torch]), one([nil, 0, 5]), one([true, false]), one([nil, true])
        )
        given.prompts = ["In the"]
        let asked = GenerationRequest(parameters: given, seed: 77, seedAssigned: true, lineByLine: false)
        let record = try ProofRecord([
            "format": "scriptorium/1", "checkpoint_sha256": "", "tokenizer_sha256": "", "numerics": "float32/1", "precision": "float32",
            "rng": .string(given.rng.rawValue), "seed": 77, "seed_assigned": true, "params": JSONValue.parse(given.recordJSON), "sample": 0,
            "prompt_index": 0, "draw": 0, "prompt": "In the", "prompt_token_ids": [1], "token_ids": [2], "finish_reason": "length",
        ])
        let read = try GenerationRequest(record: record)
        #expect(read.parameters == asked.parameters && read.text == asked.text)
        #expect(try ProofRecord(#require(record.json.objectValue)) == record)
    }
}
