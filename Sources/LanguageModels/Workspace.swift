import CKernels
import Kernels

/// Rows of one sequence in a step.
struct Segment {
    var pages: UnsafeMutablePointer<UnsafeMutablePointer<Float>?>
    var firstRow: Int
    var rows: Int
    var firstPosition: Int
    /// How many of its last rows want logits.
    var logitRows: Int
}

/// The memory of a step, made once. Shapes: R rows, C width, F inner, V vocabulary, L rows with logits.
final class Workspace {
    /// [R, C], the residual stream
    let stream: UnsafeMutablePointer<Float>
    /// [R, C], what the first norm or the attention put out
    let normed: UnsafeMutablePointer<Float>
    /// [R, 3C], query, key and value; then [R, C], what the second norm put out
    let attention: UnsafeMutablePointer<Float>
    /// [R, F]
    let inner: UnsafeMutablePointer<Float>
    /// [L, V]
    let logits: UnsafeMutablePointer<Float>
    /// The rows of a product as narrow weights want them; nothing for float32
    let prepared: UnsafeMutablePointer<Float>
    /// [R], token ids
    let tokens: UnsafeMutablePointer<Int32>
    /// [R], positions
    let places: UnsafeMutablePointer<Int32>
    /// [L], rows that want logits, ascending
    let logitRows: UnsafeMutablePointer<Int32>
    /// [R], the step's segments
    let segments: UnsafeMutablePointer<Segment>
    /// [R], the segments in pieces of at most 64 rows, whose keys and values are stored side by side
    let pieces: UnsafeMutablePointer<Segment>
    /// [R], what the attention kernel is given
    let spans: UnsafeMutablePointer<ck_attention_span>
    private let floats: [FloatBuffer]

    init(_ description: ModelDescription, precision: WeightPrecision, rows: Int, logitRows count: Int) {
        let (C, F, V) = (description.width, description.inner, description.vocabularySize)
        let prepared = precision.preparedFloats(rows: max(rows, count), inputs: max(C, F))
        floats = [rows * C, rows * C, rows * 3 * C, rows * F, count * V, prepared].map { FloatBuffer(count: $0) }
        (stream, normed, attention, inner) = (floats[0].pointer, floats[1].pointer, floats[2].pointer, floats[3].pointer)
        (logits, self.prepared) = (floats[4].pointer, floats[5].pointer)
        tokens = .allocate(capacity: rows)
        places = .allocate(capacity: rows)
        logitRows = .allocate(capacity: count)
        segments = .allocate(capacity: rows)
        pieces = .allocate(capacity: rows)
        spans = .allocate(capacity: rows)
    }

    deinit {
        tokens.deallocate()
        places.deallocate()
        logitRows.deallocate()
        segments.deallocate()
        pieces.deallocate()
        spans.deallocate()
    }
}
