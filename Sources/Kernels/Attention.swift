package import CKernels

/// Where keys and values of a layer stand in pages of 64 positions: keys [head][position / 16][d][16], then values
/// [head][position][d rounded up to 16].
package struct KVLayout: Sendable, Equatable {
    package static let pagePositions = Int(CK_PAGE_POSITIONS)
    package let heads: Int
    package let headWidth: Int
    /// Elements are bfloat16, rounded as they are stored.
    package let isNarrow: Bool

    package init(heads: Int, headWidth: Int, isNarrow: Bool = false) {
        self.heads = heads
        self.headWidth = headWidth
        self.isNarrow = isNarrow
    }

    /// Floats that one layer takes of a page. A page of several layers puts them `pageFloats` apart (`pageOffset`).
    package var pageFloats: Int { ck_page_floats(heads, headWidth, isNarrow) }
}

/// Rows of one sequence at consecutive positions, as attention takes them: `pages` of the sequence (page i holds positions
/// 64·i …), `page_offset` of the layer, `queries` (`query_head_stride` from head to head), `out`, `rows`, `first_position`, `statistics` (nil in inference).
package typealias AttentionSpan = ck_attention_span

/// Causal attention over key-value pages in the fixed order of reproducibility.md 4.
package enum Attention {
    /// Any mix of prefill chunks and single decode rows; each row sees itself and everything before it (the last `window`
    /// positions when window > 0). Keys and values of the rows themselves must have been stored.
    package static func apply(
        spans: UnsafePointer<AttentionSpan>, count: Int, layout: KVLayout, scale: Float, window: Int = 0, pool: ThreadPool
    ) {
        var shape = ck_attention_shape(
            heads: layout.heads, head_width: layout.headWidth, scale: scale, window: UInt32(window), narrow: layout.isNarrow)
        ck_attention(pool.handle, &shape, spans, count)
    }

    /// Writes keys and values of `rows` positions from `firstPosition` into the pages; row r, head h at `keys + r·stride + h·d`.
    package static func store(
        keys: UnsafePointer<Float>, values: UnsafePointer<Float>, stride: Int, rows: Int, firstPosition: Int,
        pages: UnsafePointer<UnsafeMutablePointer<Float>?>, pageOffset: Int, layout: KVLayout
    ) {
        var shape = ck_attention_shape(heads: layout.heads, head_width: layout.headWidth, scale: 1, window: 0, narrow: layout.isNarrow)
        ck_store_keys_values(&shape, pages, pageOffset, UInt32(firstPosition), UInt32(rows), keys, values, stride, layout.headWidth)
    }
}
