import ScriptoriumEngine

let engine = try TextEngine(model: "my-model")
for text in try engine.generate("In the", GenerateOptions(n: 3, seed: 42)) { print(text.text) }
_ = try engine.stream("In the") { print($0.text, terminator: "") }
print(try engine.score("In the beginning").perplexity ?? 0)
let options = TrainOptions(numSteps: 100, seed: 42)
try TextEngine.train(.model("my-model"), on: ["my-texts.txt"], output: "my-finetune", options) { print($0.step, $0.loss) }
