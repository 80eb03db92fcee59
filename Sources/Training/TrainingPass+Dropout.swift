import CKernels

/// Dropout in the model: after the embedding, on attention's weights and after both residual projections, as GPT-2 places it.
///
/// No mask is stored: the backward pass, and a forward pass that is made again, count the same random words (reproducibility.md 8).
extension TrainingPass {
    /// The places where dropout strikes; with the layer and the purpose they make the last counter word.
    enum DropoutSite: UInt32 {
        case embedding = 0
        case attention = 1
        case feed = 2
        /// The weights after the softmax.
        case weights = 3
        /// What enters a layer's first adapter; the next ones follow.
        case firstAdapter = 4
    }

    /// Purpose, layer and site as one counter word.
    static func dropoutWord(layer: Int, site: UInt32) -> UInt32 {
        RandomPurpose.dropout.rawValue << 28 | UInt32(truncatingIfNeeded: layer) << 4 | site
    }

    /// Inverted dropout in place; on a gradient the very same call is its backward pass.
    func drop(_ x: UnsafeMutablePointer<Float>, layer: Int, site: DropoutSite) {
        guard options.dropout > 0 else { return }
        var arguments = dropoutArguments(layer: layer, site: site)
        (arguments.x, arguments.rows, arguments.width, arguments.stride) = (x, rows, width, width)
        ck_dropout(pool, &arguments)
    }

    /// The gradient of a residual projection's output: that of the stream, through the same mask.
    func droppedGradient(layer: Int, site: DropoutSite) -> UnsafeMutablePointer<Float> {
        if options.dropout == 0 { return memory.dStream }
        memory.dDropped.update(from: memory.dStream, count: rows * width)
        drop(memory.dDropped, layer: layer, site: site)
        return memory.dDropped
    }

    /// The mask of a layer's attention weights, good until the next call; nil without dropout.
    func weightMask(layer: Int) -> UnsafePointer<ck_dropout_args>? {
        guard options.dropout > 0 else { return nil }
        mask.pointee = dropoutArguments(layer: layer, site: .weights)
        return UnsafePointer(mask)
    }

    private func dropoutArguments(layer: Int, site: DropoutSite) -> ck_dropout_args {
        ck_dropout_args(
            x: nil, rows: 0, width: 0, stride: 0, rate: options.dropout, seed: options.seed, step: UInt32(truncatingIfNeeded: position.step),
            first_row: UInt32(truncatingIfNeeded: position.firstRow), site: TrainingPass.dropoutWord(layer: layer, site: site.rawValue))
    }
}
