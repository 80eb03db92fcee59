import TaskProtocol
import Training

/// Which steps become rows of `training_steps`, and when they are told.
///
/// Of a run of up to 10,000 steps all are, of a longer one every so manieth, besides the first and the last: the rows depend on the
/// run alone, not on how fast it went. They ride with the progress, four times a second at most.
struct TrainingLog {
    private static let rows = 10_000
    private static let milliseconds: Milliseconds = 250

    private let totalSteps: Int
    private let interval: Int
    private var waiting: [TrainingStepRecord] = []
    private var saidAt: Milliseconds = .min / 2

    init(totalSteps: Int) {
        self.totalSteps = totalSteps
        interval = max(1, (totalSteps + Self.rows - 1) / Self.rows)
    }

    /// Takes in a step.
    /// - Returns: the rows to tell with the progress; nil where it is too early to tell anything.
    mutating func add(_ step: TrainingStep, now: Milliseconds) -> [TrainingStepRecord]? {
        let isLast = step.step >= totalSteps
        if step.step % interval == 0 || step.step == 1 || isLast {
            waiting.append(
                TrainingStepRecord(
                    step: step.step, loss: step.loss, averageLoss: step.averageLoss, learningRate: step.learningRate,
                    gradientNorm: step.gradientNorm, tokensPerSecond: step.tokensPerSecond))
        }
        guard now - saidAt >= Self.milliseconds || isLast || step.step == 1 else { return nil }
        saidAt = now
        return takeRest()
    }

    /// What was not told yet.
    mutating func takeRest() -> [TrainingStepRecord] {
        defer { waiting = [] }
        return waiting
    }
}
