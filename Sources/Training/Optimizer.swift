import CKernels

/// AdamW with betas 0.9 and 0.999 over the store's flat arrays, the gradient clipped by its global norm.
///
/// Source: Loshchilov and Hutter 2019, as torch computes it (decay first, bias corrections on the step and the root).
struct Optimizer {
    static let betas = (first: 0.9, second: 0.999)

    /// β₁ᵗ and β₂ᵗ, by repeated multiplication, so that they are the same everywhere.
    private var powers = (first: 1.0, second: 1.0)
    private(set) var steps = 0

    /// - Parameter steps: how many steps the moments have seen (a resume).
    init(steps: Int) {
        for _ in 0..<steps { advance() }
    }

    private mutating func advance() {
        powers = (powers.first * Optimizer.betas.first, powers.second * Optimizer.betas.second)
        steps += 1
    }

    /// The gradient's norm over all trained tensors in the order of their names: squares in blocks of 65,536 and 16 lanes, double across blocks.
    static func gradientNorm(_ store: ParameterStore, pool: OpaquePointer) -> Double {
        var sum = 0.0
        for parameter in store.parameters where !parameter.frozen {
            sum += ck_square_sum(pool, store.gradients.base + parameter.offset, parameter.count)
        }
        return sum.squareRoot()
    }

    /// One step with the gradients in the store.
    /// - Parameters:
    ///   - norm: the gradient's, as ``gradientNorm(_:pool:)`` gave it.
    ///   - rate: the learning rate of this step.
    mutating func step(_ store: ParameterStore, norm: Double, rate: Double, options: TrainingOptions, pool: OpaquePointer) {
        advance()
        var scale = 1.0
        if options.maxGradNorm > 0 { scale = min(1, options.maxGradNorm / (norm + 1e-6)) }
        update(store, from: 0, to: store.decayingCount, keep: 1 - rate * options.weightDecay, scale: scale, rate: rate, options: options, pool: pool)
        update(store, from: store.decayingCount, to: store.trainedCount, keep: 1, scale: scale, rate: rate, options: options, pool: pool)
    }

    private func update(
        _ store: ParameterStore, from: Int, to: Int, keep: Double, scale: Double, rate: Double, options: TrainingOptions, pool: OpaquePointer
    ) {
        guard to > from else { return }
        var arguments = ck_adamw_args(
            weights: store.weights.base + from, first_moment: store.firstMoment.base + from, second_moment: store.secondMoment.base + from,
            gradient: store.gradients.base + from, count: to - from, gradient_scale: Float(scale), beta1: Float(Optimizer.betas.first),
            one_minus_beta1: Float(1 - Optimizer.betas.first), beta2: Float(Optimizer.betas.second),
            one_minus_beta2: Float(1 - Optimizer.betas.second), step_size: Float(rate / (1 - powers.first)),
            root_correction: Float((1 - powers.second).squareRoot()), epsilon: Float(options.adamEpsilon), decay_keep: Float(keep))
        ck_adamw(pool, &arguments)
    }
}
