import CKernels
import Kernels
import LanguageModels

/// A transformer block in both directions. Names as in ``LayerActivations``; d… is the gradient of ….
extension TrainingPass {
    /// middle = input + project(attend(qkv(norm1(input)))); out = middle + feed(norm2(middle)), or of norm2(input) where both
    /// parts read the stream that came in.
    func forward(layer index: Int) {
        let (layout, a, products) = (description.tensors.layers[index], memory.layers[index], memory.products)
        norm(a.input, layout.norm1, out: a.norm1, mean: a.mean1, rstd: a.rstd1)
        products.forward(layout.attentionInput, store, x: a.norm1, rows: rows, out: a.qkv)
        rotate(a.qkv, inverse: false)
        var attention = attentionArguments(index)
        ck_training_attention(pool, &attention)
        addProjection(layout.attentionOutput, x: a.attended, to: a.input, out: a.middle, layer: index, site: .attention)
        norm(feedInput(a), layout.norm2, out: a.norm2, mean: a.mean2, rstd: a.rstd2)
        products.forward(layout.feedInput, store, x: a.norm2, rows: rows, out: a.feed)
        ck_map(pool, description.activation.rawValue, a.feed, a.activated, rows * description.inner)
        addProjection(layout.feedOutput, x: a.activated, to: a.middle, out: stream(index + 1), layer: index, site: .feed)
    }

    /// Turns dStream from the gradient of the layer's output into that of its input.
    ///
    /// Each part reads dStream before the norm it began with adds to it, so the two run in the order that keeps it unread.
    func backward(layer index: Int, first: Bool) {
        if options.gradientCheckpointing == true && index < description.layers - 1 { forward(layer: index) }
        switch description.residual {
        case .sequential:
            feedBackward(index, first: first)
            attentionBackward(index, first: first)
        case .parallel:
            attentionBackward(index, first: first)
            feedBackward(index, first: first)
        }
        let (layout, a, products) = (description.tensors.layers[index], memory.layers[index], memory.products)
        products.inputGradient(layout.attentionInput, store, dy: memory.dQKV, rows: rows, dx: memory.dBranch)
        normBackward(a.input, layout.norm1, dy: memory.dBranch, mean: a.mean1, rstd: a.rstd1, adding: true, first: first)
    }

    /// dStream += the gradient of the feed-forward part's input.
    private func feedBackward(_ index: Int, first: Bool) {
        let (layout, a, products) = (description.tensors.layers[index], memory.layers[index], memory.products)
        let dOut = droppedGradient(layer: index, site: .feed)
        products.weightGradient(layout.feedOutput, store, x: a.activated, dy: dOut, rows: rows, accumulate: !first)
        products.inputGradient(layout.feedOutput, store, dy: dOut, rows: rows, dx: memory.dFeed)
        ck_activation_backward(pool, description.activation.rawValue, a.feed, memory.dFeed, memory.dFeed, rows * description.inner)
        products.weightGradient(layout.feedInput, store, x: a.norm2, dy: memory.dFeed, rows: rows, accumulate: !first)
        products.inputGradient(layout.feedInput, store, dy: memory.dFeed, rows: rows, dx: memory.dBranch)
        normBackward(feedInput(a), layout.norm2, dy: memory.dBranch, mean: a.mean2, rstd: a.rstd2, adding: true, first: first)
    }

    /// dQKV from dStream.
    private func attentionBackward(_ index: Int, first: Bool) {
        let (layout, a, products) = (description.tensors.layers[index], memory.layers[index], memory.products)
        let dOut = droppedGradient(layer: index, site: .attention)
        products.weightGradient(layout.attentionOutput, store, x: a.attended, dy: dOut, rows: rows, accumulate: !first)
        products.inputGradient(layout.attentionOutput, store, dy: dOut, rows: rows, dx: memory.dBranch)
        let places = description.headPlaces
        var attention = ck_training_attention_backward_args(
            forward: attentionArguments(index), dout: memory.dBranch, dout_stride: width, dqueries: memory.dQKV, dkeys: memory.dQKV + places.keys,
            dvalues: memory.dQKV + places.values, dstride: 3 * width)
        ck_training_attention_backward(pool, &attention)
        rotate(memory.dQKV, inverse: true)
        products.weightGradient(layout.attentionInput, store, x: a.norm1, dy: memory.dQKV, rows: rows, accumulate: !first)
    }

    /// What the second norm reads.
    private func feedInput(_ a: LayerActivations) -> UnsafeMutablePointer<Float> {
        description.residual == .parallel ? a.input : a.middle
    }

    /// Turns queries and keys to their positions, or their gradients back, where positions are rotary.
    private func rotate(_ qkv: UnsafeMutablePointer<Float>, inverse: Bool) {
        guard let rotary else { return }
        let head = description.headPlaces
        var arguments = ck_rotary_args(
            queries: qkv, keys: qkv + head.keys, rows: rows, stride: 3 * width, heads: description.heads, head_stride: head.stride,
            pairs: rotary.pairs, cosines: rotary.cosines, sines: rotary.sines, places: places, inverse: inverse)
        ck_rotary(pool, &arguments)
    }

    /// out = stream + (x · W + b), the projection dropped out where asked; the residual is added last either way.
    private func addProjection(
        _ projection: ProjectionLayout, x: UnsafePointer<Float>, to stream: UnsafePointer<Float>, out: UnsafeMutablePointer<Float>, layer: Int,
        site: DropoutSite
    ) {
        if options.dropout == 0 {
            memory.products.forward(projection, store, x: x, rows: rows, residual: stream, out: out)
        } else {
            memory.products.forward(projection, store, x: x, rows: rows, out: out)
            drop(out, layer: layer, site: site)
            ck_add(pool, out, stream, rows * width)
        }
    }

    private func attentionArguments(_ index: Int) -> ck_training_attention_args {
        let (a, places) = (memory.layers[index], description.headPlaces)
        return ck_training_attention_args(
            sequences: sequences, length: length, heads: description.heads, head_width: description.headWidth,
            scale: description.attentionScale(layer: index), window: UInt32(description.attentionWindows[index]), queries: a.qkv,
            keys: a.qkv + places.keys, values: a.qkv + places.values, stride: 3 * width, head_stride: places.stride, out: a.attended,
            out_stride: width, statistics: a.statistics, dropout: weightMask(layer: index))
    }

    func norm(
        _ x: UnsafePointer<Float>, _ layout: NormLayout, out: UnsafeMutablePointer<Float>, mean: UnsafeMutablePointer<Float>,
        rstd: UnsafeMutablePointer<Float>
    ) {
        var arguments = ck_layer_norm_args(
            x: x, rows: rows, width: width, x_stride: width, gain: store.weight(layout.gain), bias: store.weight(layout.bias),
            epsilon: description.epsilon, out: out, out_stride: width, mean: mean, rstd: rstd)
        ck_layer_norm(pool, &arguments)
    }

    /// dStream = [dStream +] the norm's input gradient; gain and bias gradients where they train.
    func normBackward(
        _ x: UnsafePointer<Float>, _ layout: NormLayout, dy: UnsafePointer<Float>, mean: UnsafePointer<Float>, rstd: UnsafePointer<Float>,
        adding: Bool,
        first: Bool
    ) {
        var arguments = ck_layer_norm_backward_args(
            x: x, dy: dy, rows: rows, width: width, x_stride: width, dy_stride: width, mean: mean, rstd: rstd, gain: store.weight(layout.gain),
            dx: memory.dStream, dx_stride: width, accumulate_dx: adding, gain_gradient: store.gradient(layout.gain),
            bias_gradient: store.gradient(layout.bias), accumulate_parameters: !first)
        ck_layer_norm_backward(pool, &arguments)
    }
}
