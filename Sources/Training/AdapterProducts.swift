import CKernels
import LanguageModels

/// The adapters' products in both directions, with the memory they need.
///
/// H = (alpha / rank) · drop(X) · Aᵀ is made anew for the backward pass: it is small. Names: R rows, K inputs, N outputs, r rank.
final class AdapterProducts {
    private let byWeight: [String: Adapter]
    private let scale: Float
    private let rank: Int
    private let dropout: Double
    private let seed: UInt64
    /// [R][r] each, and [R][widest K] where something is dropped.
    private let hidden: UnsafeMutablePointer<Float>
    private let wide: UnsafeMutablePointer<Float>
    private let memory: FloatMemory
    /// What the masks of this micro-batch are addressed by.
    var position = TrainingPass.Position()

    init(_ adapters: [Adapter], _ options: LoRAOptions, seed: UInt64, rows: Int) throws(TrainingError) {
        byWeight = Dictionary(adapters.map { ($0.weight.name, $0) }, uniquingKeysWith: { first, _ in first })
        scale = Float(options.alpha / Double(options.rank))
        (rank, dropout, self.seed) = (options.rank, options.dropout, seed)
        let hiddenCount = (rows * rank + 15) / 16 * 16
        memory = try FloatMemory(count: hiddenCount + (dropout > 0 ? rows * (adapters.map(\.inputs).max() ?? 0) : 0))
        hidden = memory.base
        wide = memory.base + hiddenCount
    }

    /// The adapter beside a weight.
    func adapter(of weight: TensorSpecification) -> Adapter? { byWeight[weight.name] }

    /// out = [residual +] (out + H · Bᵀ).
    func addForward(
        _ adapter: Adapter, _ products: Products, _ store: ParameterStore, x: UnsafePointer<Float>, rows: Int, residual: UnsafePointer<Float>?,
        out: UnsafeMutablePointer<Float>, outStride: Int
    ) {
        makeHidden(adapter, products, store, dropped(x, adapter, rows, products), rows: rows)
        products.multiply(
            Products.Factor(hidden, stride: rank), Products.Factor(store.weight(adapter.b), stride: rank).transposed, rows: rows, inputs: rank,
            columns: adapter.outputs, residual: residual, out: out, outStride: outStride, accumulate: true)
    }

    /// dB = dYᵀ · H and dA = dHᵀ · drop(X), into the gradients or onto them.
    func weightGradients(
        _ adapter: Adapter, _ products: Products, _ store: ParameterStore, x: UnsafePointer<Float>, dy: UnsafePointer<Float>, dyStride: Int,
        rows: Int, accumulate: Bool
    ) {
        guard let dA = store.gradient(adapter.a), let dB = store.gradient(adapter.b) else { return }
        let x = dropped(x, adapter, rows, products)
        let dY = Products.Factor(dy, stride: dyStride)
        makeHidden(adapter, products, store, x, rows: rows)
        products.multiply(
            dY.transposed, Products.Factor(hidden, stride: rank), rows: adapter.outputs, inputs: rows, columns: rank, out: dB, outStride: rank,
            accumulate: accumulate)
        makeHiddenGradient(adapter, products, store, dY, rows: rows)
        products.multiply(
            Products.Factor(hidden, stride: rank).transposed, Products.Factor(x, stride: adapter.inputs), rows: rank, inputs: rows,
            columns: adapter.inputs, out: dA, outStride: adapter.inputs, accumulate: accumulate)
    }

    /// dx += drop(dH · A).
    func addInputGradient(
        _ adapter: Adapter, _ products: Products, _ store: ParameterStore, dy: UnsafePointer<Float>, dyStride: Int, rows: Int,
        dx: UnsafeMutablePointer<Float>
    ) {
        makeHiddenGradient(adapter, products, store, Products.Factor(dy, stride: dyStride), rows: rows)
        let isDirect = dropout == 0
        products.multiply(
            Products.Factor(hidden, stride: rank), Products.Factor(store.weight(adapter.a), stride: adapter.inputs), rows: rows, inputs: rank,
            columns: adapter.inputs, out: isDirect ? dx : wide, outStride: adapter.inputs, accumulate: isDirect)
        if isDirect { return }
        drop(wide, adapter, rows, products)
        ck_add(products.pool, dx, wide, rows * adapter.inputs)
    }

    /// H = scale · x · Aᵀ.
    private func makeHidden(_ adapter: Adapter, _ products: Products, _ store: ParameterStore, _ x: UnsafePointer<Float>, rows: Int) {
        products.multiply(
            Products.Factor(x, stride: adapter.inputs), Products.Factor(store.weight(adapter.a), stride: adapter.inputs).transposed, rows: rows,
            inputs: adapter.inputs, columns: rank, out: hidden, outStride: rank)
        scaleHidden(rows)
    }

    /// dH = scale · dY · B.
    private func makeHiddenGradient(_ adapter: Adapter, _ products: Products, _ store: ParameterStore, _ dY: Products.Factor, rows: Int) {
        products.multiply(
            dY, Products.Factor(store.weight(adapter.b), stride: rank), rows: rows, inputs: adapter.outputs, columns: rank, out: hidden,
            outStride: rank)
        scaleHidden(rows)
    }

    private func scaleHidden(_ rows: Int) {
        for index in 0..<rows * rank { hidden[index] *= scale }
    }

    private func dropped(_ x: UnsafePointer<Float>, _ adapter: Adapter, _ rows: Int, _ products: Products) -> UnsafePointer<Float> {
        guard dropout > 0 else { return x }
        wide.update(from: x, count: rows * adapter.inputs)
        drop(wide, adapter, rows, products)
        return UnsafePointer(wide)
    }

    private func drop(_ x: UnsafeMutablePointer<Float>, _ adapter: Adapter, _ rows: Int, _ products: Products) {
        var arguments = ck_dropout_args(
            x: x, rows: rows, width: adapter.inputs, stride: adapter.inputs, rate: dropout, seed: seed,
            step: UInt32(truncatingIfNeeded: position.step), first_row: UInt32(truncatingIfNeeded: position.firstRow), site: adapter.dropoutWord)
        ck_dropout(products.pool, &arguments)
    }
}
