import TaskProtocol
import Testing

@Suite("What is read of pinned tasks") struct ResolvedOutlineTests {
    @Test("what placing needs is read from the pinned task: model, precision, names that not all know") func needs() throws {
        func needs(_ json: String, _ kind: TaskKind = .generate, known: Set<String>? = ["n"]) -> PlacementNeeds? {
            PlacementNeeds(of: Array(json.utf8), kind: kind, known: known)
        }
        let plain = try #require(needs(#"{"model": {"sha256": "abc"}, "params": {"n": 1}}"#))
        #expect(plain.model == "abc" && plain.precision == .float32 && plain.parameters.isEmpty)
        let params = #"{"precision": "int8", "later": null, "n": 2, "precision2": "x"}"#
        let other = try #require(needs("{\"params\": \(params)}", known: ["n", "precision"]))
        #expect(other.model == nil && other.precision == .int8 && other.parameters == ["later", "precision2"])
        #expect(needs(#"{"params": {"later": 1}}"#, known: nil)?.parameters == [])
        #expect(needs(#"{"params": {"precision": "fp4"}}"#) == nil, "a precision of a later release stays for its brokers")
        #expect(needs(#"{"params": {"precision": "bf16"}}"#, .finetune)?.precision == .float32)
        let texts = #""texts": [{"proof": {"precision": "int8"}}, {"proof": {"precision": "float32"}}]"#
        let verify = try #require(needs("{\"model\": {\"sha256\": \"abc\"}, \(texts), \"params\": {\"precision\": \"float32\"}}", .verify))
        #expect(verify.modelKey == "abc/int8", "that of the first text, as its worker takes it")
        #expect(needs("{\(texts)}", .generate)?.precision == .float32)
        for unknown in ["", #", "texts": []"#, #", "texts": [{"proof": {"precision": "fp4"}}]"#] {
            #expect(needs("{\"params\": {}\(unknown)}", .verify)?.precision == .float32)
        }
        for broken in ["", "[]", "{", #"{"model": 1, "params": []}"#] { #expect(needs(broken)?.parameters == [], "the worker says what is wrong") }
    }

    private let model = ResolvedModel(
        name: "demo", checkpoint: .version7(milliseconds: 1), sha256: String(repeating: "a", count: 64), manifest: "m", tokenizerSHA256: nil,
        contextLength: 8, lineByLine: false)

    @Test("results are filed under the model, the checkpoint and the seed that were pinned") func filed() {
        for name in ["demo", nil] {
            var pinned = ResolvedTask(parameters: .generate(GenerateParameters(model: "demo")), seed: -5, seedAssigned: true, model: model)
            pinned.model?.name = name
            let outline = ResolvedOutline(of: pinned.json)
            #expect(outline.modelName == name && outline.modelSHA256 == model.sha256 && outline.checkpoint == "\(model.checkpoint)")
            #expect(outline.seed == -5 && outline.seedAssigned == true)
        }
        let bare = ResolvedOutline(of: ResolvedTask(parameters: .generate(GenerateParameters(model: "demo")), seed: 7, seedAssigned: false).json)
        #expect(bare.modelName == nil && bare.checkpoint == nil && bare.seed == 7 && bare.seedAssigned == false)
        for broken in ["", "[1]", "{"] { #expect(ResolvedOutline(of: Array(broken.utf8)).seed == nil) }
    }
}
