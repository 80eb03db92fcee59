import CKernels
import Kernels

/// The forward pass: each line one kernel over all rows of the step.
///
/// x = token [+ position]; in every layer attention is output(attend(input(norm1(x)))), the feed-forward part
/// feedOutput(act(feedInput(norm2(x)))): x += the one, then x += the other, or both from the same x.
/// In the last layer only rows that want logits go on once keys and values are stored.
extension InferenceSession {
    /// Runs the step that was gathered.
    package func run() {
        guard rowCount > 0 else { return }
        embed()
        var rows = rowCount
        for index in 0..<plan.layerCount {
            let layer = plan.layers + index
            normalise(layer.pointee.norm1, rows: rows, out: workspace.normed)
            project(layer.pointee.attentionInput, from: workspace.normed, rows: rows, out: workspace.attention)
            rotate(rows: rows)
            storeKeysAndValues(layer)
            if index == plan.layerCount - 1 {
                rows = keepLogitRows()
                if rows == 0 { return }
                attend(layer, spans: spansOfLogitRows(layer))
            } else {
                attend(layer, spans: spansOfSegments(layer))
            }
            // Queries, keys and values have been used: their memory takes the second norm.
            if plan.residual == .parallel { normalise(layer.pointee.norm2, rows: rows, out: workspace.attention) }
            project(layer.pointee.attentionOutput, from: workspace.normed, rows: rows, out: workspace.stream, addingToOut: true)
            if plan.residual == .sequential { normalise(layer.pointee.norm2, rows: rows, out: workspace.attention) }
            project(layer.pointee.feedInput, from: workspace.attention, rows: rows, out: workspace.inner, activation: plan.activation)
            project(layer.pointee.feedOutput, from: workspace.inner, rows: rows, out: workspace.stream, addingToOut: true)
        }
        normalise(plan.finalNorm, rows: rows, out: workspace.normed)
        project(plan.head, from: workspace.normed, rows: rows, out: workspace.logits)
    }

    private func embed() {
        if let embedding = plan.embedding {
            var args = ck_embedding_args(
                tokens: embedding, positions: plan.positions, ids: workspace.tokens, places: workspace.places, rows: rowCount, width: plan.width,
                out: workspace.stream, out_stride: plan.width)
            ck_embedding(pool.handle, &args)
            return
        }
        var context = TiedEmbedding(
            kernels: plan.kernels, head: plan.head, positions: plan.positions, tokens: workspace.tokens, places: workspace.places,
            out: workspace.stream)
        ck_pool_run(
            pool.handle, rowCount, { context, row, _ in context?.assumingMemoryBound(to: TiedEmbedding.self).pointee.embed(row) }, &context)
    }

    private func normalise(_ norm: NormPlan, rows: Int, out: UnsafeMutablePointer<Float>) {
        var args = ck_layer_norm_args(
            x: workspace.stream, rows: rows, width: plan.width, x_stride: plan.width, gain: norm.gain, bias: norm.bias, epsilon: plan.epsilon,
            out: out, out_stride: plan.width, mean: nil, rstd: nil)
        ck_layer_norm(pool.handle, &args)
    }

    private func project(
        _ projection: ProjectionPlan, from x: UnsafeMutablePointer<Float>, rows: Int, out: UnsafeMutablePointer<Float>, activation: Int32 = 0,
        addingToOut: Bool = false
    ) {
        var args = ck_linear_args(
            x: x, rows: rows, x_stride: projection.inputs, panels: projection.panels, inputs: projection.inputs, outputs: projection.outputs,
            bias: projection.bias, activation: activation, residual: addingToOut ? UnsafePointer(out) : nil, out: out, out_stride: projection.outputs,
            accumulate: false, precision: projection.precision, prepared: workspace.prepared)
        ck_linear(pool.handle, &args)
    }

    /// Turns queries and keys to their positions, where the model's positions are rotary.
    private func rotate(rows: Int) {
        guard let table = plan.rotary else { return }
        var args = ck_rotary_args(
            queries: workspace.attention, keys: workspace.attention + plan.places.keys, rows: rows, stride: 3 * plan.width, heads: plan.heads,
            head_stride: plan.places.stride, pairs: table.pairs, cosines: table.cosines, sines: table.sines, places: workspace.places, inverse: false)
        ck_rotary(pool.handle, &args)
    }

    private func storeKeysAndValues(_ layer: UnsafeMutablePointer<LayerPlan>) {
        var context = KeyValueStore(
            shape: layer.pointee.shape, pageOffset: layer.pointee.pageOffset, pieces: workspace.pieces, rows: workspace.attention, width: plan.width,
            places: plan.places)
        ck_pool_run(
            pool.handle, pieceCount, { context, piece, _ in context?.assumingMemoryBound(to: KeyValueStore.self).pointee.store(piece) }, &context)
    }

    private func attend(_ layer: UnsafeMutablePointer<LayerPlan>, spans count: Int) {
        withUnsafePointer(to: layer.pointee.shape) { ck_attention(pool.handle, $0, workspace.spans, count) }
    }

    /// Every row of every segment; row r writes where row r of the stream will add it.
    private func spansOfSegments(_ layer: UnsafeMutablePointer<LayerPlan>) -> Int {
        for index in 0..<segmentCount {
            let segment = workspace.segments[index]
            workspace.spans[index] = span(layer, segment, firstRow: segment.firstRow, rows: segment.rows, outRow: segment.firstRow)
        }
        return segmentCount
    }

    /// The rows that want logits, written close together.
    private func spansOfLogitRows(_ layer: UnsafeMutablePointer<LayerPlan>) -> Int {
        var (count, outRow) = (0, 0)
        for index in 0..<segmentCount where workspace.segments[index].logitRows > 0 {
            let segment = workspace.segments[index]
            let skipped = segment.rows - segment.logitRows
            workspace.spans[count] = span(layer, segment, firstRow: segment.firstRow + skipped, rows: segment.logitRows, outRow: outRow)
            count += 1
            outRow += segment.logitRows
        }
        return count
    }

    private func span(_ layer: UnsafeMutablePointer<LayerPlan>, _ segment: Segment, firstRow: Int, rows: Int, outRow: Int) -> ck_attention_span {
        ck_attention_span(
            pages: segment.pages, page_offset: layer.pointee.pageOffset, queries: workspace.attention + firstRow * 3 * plan.width,
            query_stride: 3 * plan.width, query_head_stride: plan.places.stride, out: workspace.normed + outRow * plan.width, out_stride: plan.width,
            rows: UInt32(rows),
            first_position: UInt32(segment.firstPosition + firstRow - segment.firstRow), statistics: nil, dropout: nil)
    }

    /// Moves the stream's rows that want logits to its beginning.
    /// - Returns: how many they are.
    private func keepLogitRows() -> Int {
        for index in 0..<logitRowCount {
            let row = Int(workspace.logitRows[index])
            if row != index { (workspace.stream + index * plan.width).update(from: workspace.stream + row * plan.width, count: plan.width) }
        }
        return logitRowCount
    }
}

/// Reads tokens' rows from the head's panels (ck_linear.h says how they lie), so that a tied matrix is kept once.
private struct TiedEmbedding {
    let kernels: UnsafePointer<ck_kernels>
    let head: ProjectionPlan
    let positions: UnsafePointer<Float>?
    let tokens: UnsafePointer<Int32>
    let places: UnsafePointer<Int32>
    let out: UnsafeMutablePointer<Float>

    func embed(_ row: Int) {
        let width = head.inputs
        let target = out + row * width
        ck_read_column(kernels, head.precision, head.panels, width, head.outputs, Int(tokens[row]), target)
        guard let positions else { return }
        let position = positions + Int(places[row]) * width
        for index in 0..<width { target[index] += position[index] }
    }
}

/// Writes keys and values of a step's rows into their pages.
private struct KeyValueStore {
    var shape: ck_attention_shape
    let pageOffset: Int
    let pieces: UnsafePointer<Segment>
    let rows: UnsafePointer<Float>
    let width: Int
    let places: HeadPlaces

    func store(_ index: Int) {
        let piece = pieces[index]
        let row = rows + piece.firstRow * 3 * width
        withUnsafePointer(to: shape) { shape in
            ck_store_keys_values(
                shape, piece.pages, pageOffset, UInt32(piece.firstPosition), UInt32(piece.rows), row + places.keys,
                row + places.values, 3 * width, places.stride)
        }
    }
}
