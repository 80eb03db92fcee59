import CKernels
import Kernels
import LanguageModels

/// One micro-batch forward and backward: sequences of equal length, gradients into the store.
///
/// Shape letters: B sequences, T positions, R = B·T rows in the order (sequence, position), C wide, V vocabulary. Each layer's two
/// directions stand together in `TrainingPass+Layer.swift`. The order of every sum is reproducibility.md 12: products
/// over rows in blocks of 256 from row 0, micro-batches added in order, the head's share of a tied matrix before the embedding's.
final class TrainingPass {
    let description: ModelDescription
    let store: ParameterStore
    let options: TrainingOptions
    let pool: OpaquePointer
    let sequences: Int
    let length: Int
    let memory: ActivationMemory
    private let ids: UnsafeMutablePointer<Int32>
    private let labels: UnsafeMutablePointer<Int32>
    let places: UnsafeMutablePointer<Int32>
    let mask: UnsafeMutablePointer<ck_dropout_args>
    let rotary: RotaryTable?

    /// What the dropout of this micro-batch is drawn from.
    struct Position {
        var step = 0
        /// The first row of this micro-batch within its step.
        var firstRow = 0
    }
    var position = Position() {
        didSet { memory.products.adapters?.position = position }
    }

    var rows: Int { sequences * length }
    var width: Int { description.width }

    init(
        _ description: ModelDescription, store: ParameterStore, sequences: Int, length: Int, options: TrainingOptions, adapters: [Adapter] = [],
        pool: OpaquePointer
    ) throws(TrainingError) {
        self.description = description
        self.store = store
        self.options = options
        self.pool = pool
        self.sequences = sequences
        self.length = length
        memory = try ActivationMemory(description, sequences: sequences, length: length, options: options, adapters: adapters, pool: pool)
        rotary = description.rotary.map { RotaryTable($0, positions: length) }
        let rows = sequences * length
        ids = .allocate(capacity: rows)
        labels = .allocate(capacity: rows)
        places = .allocate(capacity: rows)
        mask = .allocate(capacity: 1)
        mask.initialize(to: ck_dropout_args())
        ids.initialize(repeating: 0, count: rows)
        labels.initialize(repeating: -1, count: rows)
        for row in 0..<rows { places[row] = Int32(row % length) }
    }

    deinit {
        ids.deallocate()
        labels.deallocate()
        places.deallocate()
        mask.deallocate()
    }

    /// Where the caller writes the tokens of the next micro-batch: B blocks of T.
    var tokens: UnsafeMutableBufferPointer<Int32> { UnsafeMutableBufferPointer(start: ids, count: rows) }

    /// Rows that have a label: all but the last of each sequence.
    var labelled: Int { sequences * (length - 1) }

    /// Checks the tokens against the vocabulary and sets the labels: the inputs, shifted by one; the last row has none.
    func prepare() throws(TrainingError) {
        for row in 0..<rows {
            guard ids[row] >= 0, Int(ids[row]) < description.vocabularySize else {
                throw .tokenOutOfRange(token: Int(ids[row]), vocabularySize: description.vocabularySize)
            }
            labels[row] = (row + 1) % length == 0 ? -1 : ids[row + 1]
        }
    }

    /// Adds this micro-batch's gradients to the store.
    /// - Parameters:
    ///   - scale: what each labelled row's loss counts in the step's: 1 / (labelled rows × micro-batches).
    ///   - first: whether it is the step's first micro-batch, which overwrites the gradients.
    /// - Returns: the sum of the rows' losses.
    func run(scale: Float, first: Bool) throws(TrainingError) -> Double {
        try prepare()
        forward()
        if first { clearLookedUpGradients() }
        let loss = head(scale: scale, gradient: true, first: first)
        for index in stride(from: description.layers - 1, through: 0, by: -1) { backward(layer: index, first: first) }
        embeddingBackward()
        return loss
    }

    /// The sum of the rows' losses, without gradients.
    func evaluate() throws(TrainingError) -> Double {
        try prepare()
        forward()
        return head(scale: 0, gradient: false, first: false)
    }

    private func forward() {
        embed()
        for index in 0..<description.layers { forward(layer: index) }
        norm(
            memory.final, description.tensors.finalNorm, out: memory.finalNorm, mean: memory.finalMean, rstd: memory.finalRstd)
    }

    /// Row r of the stream = token embedding[id] [+ position embedding[place]].
    private func embed() {
        var arguments = ck_embedding_args(
            tokens: store.weight(description.tensors.tokenEmbedding),
            positions: description.tensors.positionEmbedding.map { UnsafePointer(store.weight($0)) },
            ids: ids, places: places, rows: rows, width: width, out: stream(0), out_stride: width)
        ck_embedding(pool, &arguments)
        drop(stream(0), layer: 0, site: .embedding)
    }

    /// Gradients that the lookups add to must start at zero, but where the head's product overwrites them first.
    private func clearLookedUpGradients() {
        for specification in [description.tensors.tokenEmbedding, description.tensors.positionEmbedding].compactMap({ $0 }) {
            if description.tied && specification.name == description.tensors.tokenEmbedding.name { continue }
            guard let gradient = store.gradient(specification) else { continue }
            gradient.update(repeating: 0, count: specification.shape.reduce(1, *))
        }
    }

    private func embeddingBackward() {
        drop(memory.dStream, layer: 0, site: .embedding)
        if let gradient = store.gradient(description.tensors.tokenEmbedding) {
            ck_embedding_gradient(pool, memory.dStream, rows, width, width, ids, gradient)
        }
        if let gradient = description.tensors.positionEmbedding.flatMap(store.gradient) {
            ck_embedding_gradient(pool, memory.dStream, rows, width, width, places, gradient)
        }
    }

    /// Logits, loss and gradient of the head, 256 rows at a time, so that R × V logits never exist.
    /// - Returns: the sum of the rows' losses, added in order in double.
    private func head(scale: Float, gradient: Bool, first: Bool) -> Double {
        let specification = description.tensors.head ?? description.tensors.tokenEmbedding
        let weight = store.weight(specification)
        let (vocabulary, products) = (description.vocabularySize, memory.products)
        let matrix = Products.Factor(weight, stride: width)
        for row in stride(from: 0, to: rows, by: ActivationMemory.headRows) {
            let count = min(ActivationMemory.headRows, rows - row)
            let x = memory.finalNorm + row * width
            products.multiply(
                Products.Factor(x, stride: width), matrix.transposed, rows: count, inputs: width, columns: vocabulary, out: memory.logits,
                outStride: vocabulary)
            var arguments = ck_cross_entropy_args(
                logits: memory.logits, rows: count, vocabulary: vocabulary, stride: vocabulary, labels: labels + row, scale: scale,
                losses: memory.losses + row, gradient: gradient)
            ck_cross_entropy(pool, &arguments)
            guard gradient else { continue }
            let dLogits = Products.Factor(memory.logits, stride: vocabulary)
            products.multiply(
                dLogits, matrix, rows: count, inputs: vocabulary, columns: width, out: memory.dBranch + row * width, outStride: width)
            guard let target = store.gradient(specification) else { continue }
            products.multiply(
                dLogits.transposed, Products.Factor(x, stride: width), rows: vocabulary, inputs: count, columns: width, out: target, outStride: width,
                accumulate: !first || row > 0)
        }
        if gradient {
            normBackward(
                memory.final, description.tensors.finalNorm, dy: memory.dBranch, mean: memory.finalMean, rstd: memory.finalRstd, adding: false,
                first: first)
        }
        var sum = 0.0
        for row in 0..<rows { sum += Double(memory.losses[row]) }
        return sum
    }

    /// The residual stream that enters layer `index`, or leaves the last one.
    func stream(_ index: Int) -> UnsafeMutablePointer<Float> { index < description.layers ? memory.layers[index].input : memory.final }
}
