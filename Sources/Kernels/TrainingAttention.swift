import CKernels

/// Causal attention over whole sequences for training, forward and backward together.
package struct TrainingAttention {
    var forward: ck_training_attention_args

    /// Row t of sequence b, head h: `queries + (b·length + t)·stride + h·headStride`, likewise keys and values (for GPT-2: base,
    /// base + C, base + 2C of the c_attn rows, stride 3C, head stride nil: the head's width). `statistics`: `statisticsCount` floats kept for the backward pass.
    package init(
        sequences: Int, length: Int, heads: Int, headWidth: Int, scale: Float, window: Int = 0, queries: UnsafePointer<Float>,
        keys: UnsafePointer<Float>, values: UnsafePointer<Float>, stride: Int, headStride: Int? = nil, out: UnsafeMutablePointer<Float>,
        outStride: Int,
        statistics: UnsafeMutablePointer<Float>
    ) {
        forward = ck_training_attention_args(
            sequences: sequences, length: length, heads: heads, head_width: headWidth, scale: scale, window: UInt32(window), queries: queries,
            keys: keys, values: values, stride: stride, head_stride: headStride ?? headWidth, out: out, out_stride: outStride, statistics: statistics,
            dropout: nil)
    }

    /// Floats of statistics: maximum and sum of each row of each head.
    package static func statisticsCount(sequences: Int, length: Int, heads: Int) -> Int { 2 * sequences * length * heads }

    /// Fills `out` and the statistics; the same bits as `Attention.apply` over the same rows, unless weights are dropped.
    /// - Parameter dropout: the mask that the weights go through (training_attention.h says which element is whose).
    package func run(dropout: DropoutMask? = nil, pool: ThreadPool) {
        with(dropout) { arguments in
            var arguments = arguments
            ck_training_attention(pool.handle, &arguments)
        }
    }

    /// Overwrites the gradients of queries, keys and values (rows `dStride` apart) from that of `out`.
    package func backward(
        dOut: UnsafePointer<Float>, dOutStride: Int, dQueries: UnsafeMutablePointer<Float>, dKeys: UnsafeMutablePointer<Float>,
        dValues: UnsafeMutablePointer<Float>, dStride: Int, dropout: DropoutMask? = nil, pool: ThreadPool
    ) {
        with(dropout) { forward in
            var arguments = ck_training_attention_backward_args(
                forward: forward, dout: dOut, dout_stride: dOutStride, dqueries: dQueries, dkeys: dKeys, dvalues: dValues, dstride: dStride)
            ck_training_attention_backward(pool.handle, &arguments)
        }
    }

    private func with(_ dropout: DropoutMask?, _ body: (ck_training_attention_args) -> Void) {
        var arguments = forward
        guard let dropout else { return body(arguments) }
        withUnsafePointer(to: dropout.arguments) { mask in
            arguments.dropout = mask
            body(arguments)
        }
    }
}

/// A counted dropout mask: what its Philox blocks are addressed by.
package struct DropoutMask: Sendable {
    package var rate: Double
    package var seed: UInt64
    package var step: UInt32
    /// The first row's number within the step.
    package var firstRow: UInt32
    /// Purpose, layer and site.
    package var site: UInt32

    package init(rate: Double, seed: UInt64, step: UInt32, firstRow: UInt32, site: UInt32) {
        self.rate = rate
        self.seed = seed
        self.step = step
        self.firstRow = firstRow
        self.site = site
    }

    var arguments: ck_dropout_args {
        ck_dropout_args(x: nil, rows: 0, width: 0, stride: 0, rate: rate, seed: seed, step: step, first_row: firstRow, site: site)
    }
}
