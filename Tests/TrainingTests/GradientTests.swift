import Encodings
import Kernels
import LanguageModels
import TestSupport
import Testing
import Training

/// Gradients against finite differences of the loss itself: a tensor at a time, along its own gradient and along a random direction.
@Suite("Gradients")
struct GradientTests {
    private func loss(_ trainer: Trainer, _ rows: [[Int32]]) throws -> Double { try trainer.trainBatch(rows: rows).loss }

    /// (loss(w + εd) − loss(w − εd)) / 2ε, by Richardson from two widths, and the weights as before.
    private func slope(_ trainer: Trainer, _ name: String, _ direction: [Double], _ rows: [[Int32]]) throws -> Double {
        let weights = try #require(trainer.weights(of: name))
        func difference(_ width: Double) throws -> Double {
            try trainer.setWeights(zip(weights, direction).map { Float(Double($0) + width * $1) }, of: name)
            let up = try loss(trainer, rows)
            try trainer.setWeights(zip(weights, direction).map { Float(Double($0) - width * $1) }, of: name)
            return (up - (try loss(trainer, rows))) / (2 * width)
        }
        let (wide, narrow) = (try difference(0.04), try difference(0.02))
        try trainer.setWeights(weights, of: name)
        return (4 * narrow - wide) / 3
    }

    @Test(
        "every tensor's gradient is the loss's slope",
        arguments: [("gelu_new", true, 0.0), ("gelu", false, 0.0), ("relu", true, 0.0), ("silu", false, 0.0), ("gelu_new", false, 0.25)])
    func finiteDifferences(activation: String, tied: Bool, dropout: Double) throws {
        let config = TinyRun.config(activation: activation, tied: tied)
        let trainer = try TinyRun.trainer(config, threads: 1) {
            $0.learningRate = 0
            $0.dropout = dropout
        }
        // Without a learning rate a step changes no weight, but its number moves the dropout mask: every loss takes a fresh trainer's place.
        let rows = TinyRun.rows(3, length: trainer.blockSize, vocabulary: 23, seed: 3)
        func fresh() throws -> Trainer {
            try TinyRun.trainer(config, threads: 1) {
                $0.learningRate = 0
                $0.dropout = dropout
                $0.seed = 5
            }
        }
        _ = try loss(trainer, rows)
        var generator = SeededGenerator(seed: 17)
        for name in trainer.parameterNames {
            let gradient = try #require(trainer.gradient(of: name)).map(Double.init)
            let length = gradient.reduce(0) { $0 + $1 * $1 }.squareRoot()
            try #require(length > 0)
            let random = gradient.map { _ in Double.random(in: -1...1, using: &generator) }
            let randomLength = random.reduce(0) { $0 + $1 * $1 }.squareRoot()
            for (direction, scale) in [(gradient, length), (random, randomLength)] {
                let unit = direction.map { $0 / scale }
                let expected = zip(gradient, unit).reduce(0) { $0 + $1.0 * $1.1 }
                let got = try slopeOfFresh(fresh, name, unit, rows, dropout: dropout)
                // relu has kinks: a difference may cross one.
                let slack = activation == "relu" ? 0.05 : 0.004
                #expect(abs(got - expected) <= slack * length + 2e-4, "\(name): slope \(got), gradient \(expected), of length \(length)")
            }
        }
    }

    private func slopeOfFresh(_ fresh: () throws -> Trainer, _ name: String, _ unit: [Double], _ rows: [[Int32]], dropout: Double) throws -> Double {
        guard dropout > 0 else { return try slope(fresh(), name, unit, rows) }
        func shifted(_ width: Double) throws -> Double {
            let trainer = try fresh()
            let weights = try #require(trainer.weights(of: name))
            try trainer.setWeights(zip(weights, unit).map { Float(Double($0) + width * $1) }, of: name)
            return try loss(trainer, rows)
        }
        let wide = (try shifted(0.04) - shifted(-0.04)) / 0.08
        let narrow = (try shifted(0.02) - shifted(-0.02)) / 0.04
        return (4 * narrow - wide) / 3
    }

    @Test("micro-batches add up to the gradient of the whole batch")
    func accumulation() throws {
        let whole = try TinyRun.trainer { ($0.batchSize, $0.learningRate) = (6, 0) }
        let parts = try TinyRun.trainer { ($0.batchSize, $0.gradientAccumulationSteps, $0.learningRate) = (2, 3, 0) }
        let rows = TinyRun.rows(6, length: whole.blockSize, vocabulary: 23, seed: 8)
        let (one, three) = (try whole.trainBatch(rows: rows), try parts.trainBatch(rows: rows))
        #expect(abs(one.loss - three.loss) < 1e-6)
        #expect(abs(one.gradientNorm - three.gradientNorm) < 1e-5 * one.gradientNorm)
        for name in whole.parameterNames {
            let (a, b) = (try #require(whole.gradient(of: name)), try #require(parts.gradient(of: name)))
            for (x, y) in zip(a, b) { #expect(abs(x - y) <= 1e-5 * Float(one.gradientNorm)) }
        }
    }
}
