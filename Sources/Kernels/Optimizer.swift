import CKernels

/// AdamW and gradient norms over flat arrays, in fixed order.
package enum Optimizer {
    /// The numbers of one step, formed in double and rounded once.
    package struct AdamW: Sendable {
        package var learningRate: Double
        package var beta1: Double
        package var beta2: Double
        package var epsilon: Double
        /// Decay of the weights that this call updates (0 for those that are not decayed).
        package var weightDecay: Double
        /// 1 − β₁ᵗ and 1 − β₂ᵗ at this step, the powers by repeated multiplication.
        package var correction1: Double
        package var correction2: Double
        /// The gradient is multiplied by it first: clipping and 1 / accumulation.
        package var gradientScale: Float

        package init(
            learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double, correction1: Double,
            correction2: Double, gradientScale: Float = 1
        ) {
            self.learningRate = learningRate
            self.beta1 = beta1
            self.beta2 = beta2
            self.epsilon = epsilon
            self.weightDecay = weightDecay
            self.correction1 = correction1
            self.correction2 = correction2
            self.gradientScale = gradientScale
        }
    }

    /// One AdamW step over `count` weights: p·(1 − lr·decay) − lr/correction1 · m / (√v/√correction2 + ε).
    package static func step(
        _ adamW: AdamW, weights: UnsafeMutablePointer<Float>, gradient: UnsafePointer<Float>, firstMoment: UnsafeMutablePointer<Float>,
        secondMoment: UnsafeMutablePointer<Float>, count: Int, pool: ThreadPool
    ) {
        var arguments = ck_adamw_args(
            weights: weights, first_moment: firstMoment, second_moment: secondMoment, gradient: gradient, count: count,
            gradient_scale: adamW.gradientScale, beta1: Float(adamW.beta1), one_minus_beta1: Float(1 - adamW.beta1),
            beta2: Float(adamW.beta2), one_minus_beta2: Float(1 - adamW.beta2),
            step_size: Float(adamW.learningRate / adamW.correction1), root_correction: Float(adamW.correction2.squareRoot()),
            epsilon: Float(adamW.epsilon), decay_keep: Float(1 - adamW.learningRate * adamW.weightDecay))
        ck_adamw(pool.handle, &arguments)
    }

    /// Σ x² of one tensor: blocks of 65,536 in 16 lanes, blocks added in double.
    package static func squareSum(_ x: UnsafePointer<Float>, count: Int, pool: ThreadPool) -> Double { ck_square_sum(pool.handle, x, count) }
}
