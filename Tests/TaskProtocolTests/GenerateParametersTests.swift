import Encodings
import TaskProtocol
import Testing

@Suite("generate parameters")
struct GenerateParametersTests {
    @Test("only the model is required, and the defaults are the contract's")
    func defaults() throws {
        guard case .generate(let parameters) = try parameters(submit(generate: #"{"model":"demo"}"#)) else { throw ContractError(.internalError, "") }
        #expect(parameters == GenerateParameters(model: "demo"))
        let expected =
            #"{"bad_words":[],"banned_tokens":[],"clean_up_tokenization_spaces":false,"deduplicate":false,"do_sample":true,"early_stopping":false,"include_prefix":true,"length_penalty":1,"lstrip":true,"max_length":256,"min_p":0,"model":"demo","n":1,"no_repeat_ngram_size":0,"nonempty_output":true,"normalize_key":true,"num_beams":1,"precision":"float32","prompt":"","repetition_penalty":1,"return_token_ids":false,"rng":"philox","schema":false,"skip_special_tokens":true,"sliding_window":false,"stop":[],"stream":false,"temperature":0.7,"top_k":0,"top_p":1,"typical_p":1}"#
        #expect(String(decoding: parameters.effectiveJSON, as: UTF8.self) == expected)
    }

    static let booleans = [
        "do_sample", "prepend_bos", "lstrip", "include_prefix", "nonempty_output", "skip_special_tokens", "normalize_key",
        "return_token_ids", "stream", "deduplicate", "schema", "clean_up_tokenization_spaces", "sliding_window",
    ]

    @Test("a truth value takes true, false and null, and nothing else", arguments: booleans)
    func truthValues(name: String) {
        for value in ["true", "false", "null"] { #expect(short(refusal(generate(name, value))) == "accepted") }
        for value in ["1", "0", "\"true\"", "[]", "{}", "0.5"] { #expect(short(refusal(generate(name, value))) == "bad_request task.params.\(name)") }
    }

    static let integers: [(String, Int64, Int64)] = [
        ("n", 1, 1024), ("min_length", 0, 65_536), ("max_length", 1, 65_536), ("top_k", 0, 2_147_483_647), ("no_repeat_ngram_size", 0, 65_536),
        ("seed", 0, 9_007_199_254_740_991), ("logprobs", 0, 20), ("num_beams", 1, 1024),
    ]

    @Test("an integer takes its bounds, nothing beyond them and no other type", arguments: integers)
    func integerBounds(name: String, lower: Int64, upper: Int64) {
        for value in ["\(lower)", "\(upper)", "\(lower).0", "null"] {
            #expect(short(refusal(generate(name, value))) == "accepted", "\(name) \(value)")
        }
        for value in ["\(lower - 1)", "\(upper + 1)", "-9223372036854775808", "9223372036854775807", "1e300", "100000000000000000000"] {
            #expect(short(refusal(generate(name, value))) == "invalid_argument task.params.\(name)", "\(value)")
        }
        for value in ["\"1\"", "true", "1.5", "[1]", "{}"] { #expect(short(refusal(generate(name, value))) == "bad_request task.params.\(name)") }
    }

    static let reals: [(String, accepted: [String], refused: [String])] = [
        ("top_p", ["0", "1", "0.5", "1e-300"], ["-0.001", "1.001", "2", "1e300"]),
        ("min_p", ["0", "1", "0.05"], ["-0.001", "1.001"]),
        ("typical_p", ["1", "0.2", "1e-30"], ["0", "-1", "1.001", "1e-300"]),
        ("temperature", ["0.7", "1e-30", "3e38", "[0.7,1,1.2]", "[2]"], ["0", "-1", "1e39", "1e-60", "[]", "[0.7,0]"]),
        ("repetition_penalty", ["1", "0.5", "100"], ["0", "-1", "1e39"]),
        ("length_penalty", ["1", "0", "-2.5"], ["1e39", "-1e300"]),
    ]

    @Test("a real takes what single precision can use of its range", arguments: reals)
    func realBounds(name: String, accepted: [String], refused: [String]) {
        for value in accepted + ["null"] { #expect(short(refusal(generate(name, value))) == "accepted", "\(value)") }
        for value in refused {
            let error = refusal(generate(name, value))
            #expect(error?.code == .invalidArgument && error?.field?.hasPrefix("task.params.\(name)") == true, "\(value): \(short(error))")
        }
        for value in ["\"1\"", "true", "{}", "[\"x\"]", "[true]"] {
            let error = refusal(generate(name, value))
            #expect(error?.code == .badRequest && error?.field?.hasPrefix("task.params.\(name)") == true, "\(value): \(short(error))")
        }
    }

    @Test(
        "strings and lists are checked element by element",
        arguments: [
            ("prompt", "\"\"", "accepted"), ("prompt", "5", "bad_request task.params.prompt"),
            ("prompt", "[\"a\"]", "bad_request task.params.prompt"),
            ("prompts", "[\"a\",\"\"]", "accepted"), ("prompts", "[]", "invalid_argument task.params.prompts"),
            ("prompts", "\"a\"", "bad_request task.params.prompts"), ("prompts", "[\"a\",null]", "bad_request task.params.prompts[1]"),
            ("stop", "[]", "accepted"), ("stop", "[\"\\n\"]", "accepted"), ("stop", "\"x\"", "bad_request task.params.stop"),
            ("stop", "[\"\"]", "invalid_argument task.params.stop[0]"), ("stop", "[\"a\",7]", "bad_request task.params.stop[1]"),
            ("bad_words", "[\"a\",\" b\"]", "accepted"), ("bad_words", "[\"a\",\"\"]", "invalid_argument task.params.bad_words[1]"),
            ("banned_tokens", "[0,2147483647]", "accepted"), ("banned_tokens", "[-1]", "invalid_argument task.params.banned_tokens[0]"),
            ("banned_tokens", "[1,2147483648]", "invalid_argument task.params.banned_tokens[1]"),
            ("banned_tokens", "[\"a\"]", "bad_request task.params.banned_tokens[0]"), ("banned_tokens", "7", "bad_request task.params.banned_tokens"),
            ("truncate", "\"<end>\"", "accepted"), ("truncate", "\"\"", "invalid_argument task.params.truncate"),
            ("truncate", "[\"x\"]", "bad_request task.params.truncate"), ("rng", "\"philox\"", "accepted"),
            ("rng", "\"mt\"", "invalid_argument task.params.rng"), ("rng", "1", "bad_request task.params.rng"),
            ("precision", "\"float32\"", "accepted"), ("precision", "\"bfloat16\"", "accepted"),
            ("precision", "\"int8\"", "accepted"), ("precision", "8", "bad_request task.params.precision"),
            ("precision", "\"float64\"", "invalid_argument task.params.precision"),
            ("rng", "\"torch\"", "accepted"), ("early_stopping", "true", "accepted"), ("early_stopping", "\"never\"", "accepted"),
            ("early_stopping", "null", "accepted"), ("early_stopping", "\"always\"", "invalid_argument task.params.early_stopping"),
            ("early_stopping", "1", "bad_request task.params.early_stopping"), ("schema_tokens", "[\"<|a|>\"]", "accepted"),
            ("schema_tokens", "[\"\"]", "invalid_argument task.params.schema_tokens[0]"), ("schema_return", "\"a\"", "accepted"),
            ("schema_return", "[\"a\",\"b\"]", "accepted"), ("schema_return", "7", "bad_request task.params.schema_return"),
        ])
    func values(name: String, value: String, expected: String) { #expect(short(refusal(generate(name, value))) == expected) }

    @Test("at most 16 stop strings")
    func stopCount() {
        func list(_ count: Int) -> String { "[" + repeatElement("\"x\"", count: count).joined(separator: ",") + "]" }
        #expect(short(refusal(generate("stop", list(16)))) == "accepted")
        #expect(short(refusal(generate("stop", list(17)))) == "invalid_argument task.params.stop")
    }

    @Test(
        "unknown parameters are refused, also those of transformers that mean nothing here",
        arguments: ["pad", "use_cache", "max_tokens", "Model", "top-p", "", "output", "é", "temperature "])
    func unknown(name: String) { #expect(short(refusal(generate(name, "1"))) == "invalid_argument task.params.\(name)") }

    @Test("null means absent, also under an unknown name")
    func unknownNull() { #expect(short(refusal(generate("pad", "null"))) == "accepted") }

    @Test(
        "a model is a name, name@step, a checkpoint's id or a digest",
        arguments: [
            ("demo", true), ("a", true), ("gpt2-cpu.v1_2", true), ("demo@1500", true), ("0190b5a0-0000-7000-8000-000000000000", true),
            ("sha256:" + String(repeating: "a1", count: 32), true), (String(repeating: "a", count: 100), true),
            (String(repeating: "a", count: 101), false),
            ("", false), ("-a", false), (".a", false), ("a b", false), ("../a", false), ("a/b", false), ("demo@", false), ("demo@x", false),
            ("demo@-1", false), ("@1", false), ("sha256:abc", false), ("sha256:" + String(repeating: "g", count: 64), false), ("é", false),
        ])
    func models(reference: String, accepted: Bool) {
        #expect(short(refusal(submit(generate: #"{"model":"\#(reference)"}"#))) == (accepted ? "accepted" : "invalid_argument task.params.model"))
    }

    @Test(
        "what breaks only together names one of those to blame",
        arguments: [
            (#"{}"#, "invalid_argument task.params.model"),
            (#"{"model":null}"#, "invalid_argument task.params.model"),
            (#"{"model":"m","prompt":"a","prompts":["b"]}"#, "invalid_argument task.params.prompts"),
            (#"{"model":"m","prompt":null,"prompts":["b"]}"#, "accepted"),
            (#"{"model":"m","do_sample":false,"n":2}"#, "invalid_argument task.params.n"),
            (#"{"model":"m","do_sample":false,"n":1}"#, "accepted"),
            (#"{"model":"m","do_sample":false,"prompts":["a","b"]}"#, "accepted"),
            (#"{"model":"m","num_beams":2,"n":3}"#, "invalid_argument task.params.n"),
            (#"{"model":"m","num_beams":3,"n":3,"do_sample":false}"#, "accepted"),
            (#"{"model":"m","num_beams":2,"stream":true}"#, "invalid_argument task.params.stream"),
            (#"{"model":"m","n":513,"prompts":["a","b"]}"#, "invalid_argument task.params.n"),
            (#"{"model":"m","n":512,"prompts":["a","b"]}"#, "accepted"),
            (#"{"model":"m","n":64,"max_length":65536}"#, "accepted"),
            (#"{"model":"m","n":65,"max_length":65536}"#, "too_large task.params.max_length"),
            (#"{"model":"m","n":1024,"max_length":4096}"#, "accepted"),
            (#"{"model":"m","n":1024,"max_length":4097}"#, "too_large task.params.max_length"),
            (#"{"model":"m","n":512,"max_length":4096,"logprobs":1}"#, "accepted"),
            (#"{"model":"m","n":512,"max_length":4096,"logprobs":2}"#, "too_large task.params.max_length"),
        ])
    func together(params: String, expected: String) { #expect(short(refusal(submit(generate: params))) == expected) }

    @Test("a single number and a list of temperatures stay what they were")
    func temperatures() throws {
        guard case .generate(let list) = try parameters(generate("temperature", "[0.5,1]")) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(list.temperature == [0.5, 1] && list.hasTemperatureList)
        #expect(String(decoding: list.effectiveJSON, as: UTF8.self).contains(#""temperature":[0.5,1]"#))
        guard case .generate(let one) = try parameters(generate("temperature", "[0.5]")) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(String(decoding: one.effectiveJSON, as: UTF8.self).contains(#""temperature":[0.5]"#))
    }

    @Test("effective values are canonical, complete in MessagePack too, and decode to the same parameters")
    func effective() throws {
        let params =
            #"{"model":"demo","prompts":["a","b"],"n":3,"min_length":4,"max_length":50,"temperature":[0.7,1],"top_k":5,"top_p":0.9,"min_p":0.1,"typical_p":0.5,"repetition_penalty":1.2,"no_repeat_ngram_size":2,"bad_words":["x"],"banned_tokens":[1,2],"stop":["\n"],"seed":7,"prepend_bos":true,"lstrip":false,"truncate":"T","logprobs":2,"stream":true,"deduplicate":true,"early_stopping":"never","schema":true,"schema_tokens":["<|t|>"],"schema_return":"t"}"#
        guard case .generate(let parameters) = try parameters(submit(generate: params)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        let json = parameters.effectiveJSON
        #expect(try JSONValue.parse(json).canonical == json)
        let again = try TaskParameters.decodeStored(kind: "generate", params: json)
        #expect(again == .generate(parameters))
        var writer = MessagePackWriter()
        parameters.write(to: &writer)
        #expect(try Document.parse(messagePack: writer.bytes).root.canonical == json)
        writer = MessagePackWriter()
        parameters.write(to: &writer, includingPrompts: false)
        let record = try Document.parse(messagePack: writer.bytes).root
        #expect(record.canonical == parameters.recordJSON)
        #expect(record["seed"] == nil && record["prompts"] == nil && record["n"] == nil && record["model"] == nil && record["top_k"] != nil)
    }

    @Test("a stored text's params keep n where its random numbers depend on it")
    func recordedCount() throws {
        guard case .generate(let parameters) = try parameters(submit(generate: #"{"model":"demo","rng":"torch","n":3}"#)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        let record = try JSONValue.parse(parameters.recordJSON)
        #expect(record["n"] == 3 && record["rng"] == "torch" && record["prompt"] == nil)
        #expect(record.canonical == parameters.recordJSON)
    }

    @Test("a search takes a sequence for each beam of each prompt")
    func sequences() {
        var parameters = GenerateParameters(model: "m")
        parameters.prompts = ["a", "b", "c"]
        parameters.n = 2
        #expect(parameters.sequenceCount(texts: 6) == 6 && parameters.sequenceCount(texts: 1) == 1)
        parameters.numBeams = 5
        #expect(parameters.sequenceCount(texts: 6) == 15 && parameters.sequenceCount(texts: 2) == 5 && parameters.sequenceCount(texts: 0) == 0)
    }
}
