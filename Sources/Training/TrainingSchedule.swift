/// Which step uses which dataset and learning rate: one stage, or with `cross_train` one a dataset, the steps and the rate
/// halved from each to the next. Each stage is a run of its own: fresh moments, its own warm-up and its own fall to zero.
package struct TrainingSchedule: Sendable, Equatable {
    /// A stretch of steps on one dataset.
    package struct Stage: Sendable, Equatable {
        package let index: Int
        /// Steps of the whole run before it.
        package let first: Int
        package let steps: Int
        package let learningRate: Double
        /// At most ``steps``.
        package let warmupSteps: Int

        /// The rate for a step of this stage, counted from 0: linear from zero during warm-up, then linear to zero at its end.
        func rate(atStep step: Int) -> Double {
            if step < warmupSteps { return learningRate * (Double(step) / Double(max(1, warmupSteps))) }
            return learningRate * (Double(max(0, steps - step)) / Double(max(1, steps - warmupSteps)))
        }
    }

    package let stages: [Stage]

    /// - Parameters:
    ///   - options: `numSteps` and `learningRate` are those of the first stage.
    ///   - stages: how many there are, at least 1.
    /// - Throws: `TrainingError.option` where the last one would have no step.
    package init(_ options: TrainingOptions, stages count: Int) throws(TrainingError) {
        var stages: [Stage] = []
        for index in 0..<max(1, count) {
            let steps = index < Int.bitWidth ? options.numSteps >> index : 0
            guard steps > 0 else {
                throw .option(
                    name: "num_steps", message: "is \(options.numSteps), which halved for each of \(count) datasets leaves the last one no step")
            }
            stages.append(
                Stage(
                    index: index, first: (stages.last?.first ?? 0) + (stages.last?.steps ?? 0), steps: steps,
                    learningRate: options.learningRate * Double(sign: .plus, exponent: -index, significand: 1),
                    warmupSteps: min(options.warmupSteps, steps)))
        }
        self.stages = stages
    }

    /// Steps of the whole run.
    package var totalSteps: Int { stages.reduce(0) { $0 + $1.steps } }

    /// The stage that makes a step of the whole run, counted from 0; the last one where all are done.
    package func stage(ofStep step: Int) -> Stage { stages.last { $0.first <= step } ?? stages[0] }

    /// The rate for a step of the whole run, counted from 0.
    package func learningRate(atStep step: Int) -> Double {
        let stage = stage(ofStep: step)
        return stage.rate(atStep: step - stage.first)
    }
}
