import Kernels
import LanguageModels

/// The adapter of one weight: y += (alpha / rank) · (drop(x) · Aᵀ) · Bᵀ beside y = x · W.
struct Adapter {
    /// The module's path in transformers: `transformer.h.0.attn.c_attn`.
    let module: String
    /// The weight that it stands beside.
    let weight: TensorSpecification
    /// Whether that is stored [inputs][outputs], as Conv1D is (PEFT's `fan_in_fan_out`).
    let isInputMajor: Bool
    let inputs: Int
    let outputs: Int
    /// A [rank][inputs] and B [outputs][rank], under PEFT's names.
    let a: TensorSpecification
    let b: TensorSpecification
    /// Purpose, layer and site of the dropout before A.
    let dropoutWord: UInt32
}

extension Adapter {
    /// The adapters of a model's targets, in the order of the layers.
    /// - Throws: `TrainingError.option` where a target names nothing.
    static func list(_ description: ModelDescription, _ options: LoRAOptions) throws(TrainingError) -> [Adapter] {
        try options.validate()
        var unused = Set(options.targets ?? [])
        var known: [String] = []
        var adapters: [Adapter] = []
        for (index, layer) in description.tensors.layers.enumerated() {
            let projections = [layer.attentionInput, layer.attentionOutput, layer.feedInput, layer.feedOutput]
            let standard = standardTargets(layer.attentionInput)
            var place = 0
            for projection in projections {
                for weight in projection.weights {
                    defer { place += 1 }
                    let module = Adapter.module(of: weight.name)
                    if index == 0 { known.append(String(module.split(separator: ".").last ?? "")) }
                    let hits = options.targets.map { $0.filter { module == $0 || module.hasSuffix("." + $0) } }
                    unused.subtract(hits ?? [])
                    guard hits.map({ !$0.isEmpty }) ?? standard.contains(weight.name) else { continue }
                    adapters.append(Adapter(projection, weight, module: module, rank: options.rank, layer: index, place: place))
                }
            }
        }
        guard unused.isEmpty else {
            let names = known.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }
            throw .option(
                name: "lora.targets", message: "names \(unused.sorted().joined(separator: ", ")), but the model has \(names.joined(separator: ", "))")
        }
        return adapters
    }

    /// The last parts of the modules' paths, each once: PEFT's `target_modules`.
    static func shortNames(_ adapters: [Adapter]) -> [String] {
        adapters.reduce(into: []) { names, adapter in
            let name = String(adapter.module.split(separator: ".").last ?? "")
            if !names.contains(name) { names.append(name) }
        }
    }

    /// What makes query and value.
    private static func standardTargets(_ input: ProjectionLayout) -> [String] {
        input.weights.count == 3 ? [input.weights[0].name, input.weights[2].name] : input.weights.map(\.name)
    }

    private static func module(of weight: String) -> String { weight.hasSuffix(".weight") ? String(weight.dropLast(7)) : weight }

    private init(_ projection: ProjectionLayout, _ weight: TensorSpecification, module: String, rank: Int, layer: Int, place: Int) {
        self.module = module
        self.weight = weight
        isInputMajor = projection.layout == .inputMajor
        inputs = projection.inputs
        outputs = projection.outputs(of: weight)
        a = TensorSpecification("base_model.model.\(module).lora_A.weight", [rank, projection.inputs])
        b = TensorSpecification("base_model.model.\(module).lora_B.weight", [projection.outputs(of: weight), rank])
        dropoutWord = TrainingPass.dropoutWord(layer: layer, site: TrainingPass.DropoutSite.firstAdapter.rawValue + UInt32(place))
    }
}
