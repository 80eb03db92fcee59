import ArgumentParser
import Generation
import LanguageModels
import Supervision

struct BenchVerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "What it costs to prove a text, beside generating it (GPT-2 124M's shape unless --model).")

    @OptionGroup var measured: BenchModelOptions

    @Option(help: "Generated tokens of the text, behind a prompt of 32.")
    var newTokens = 256

    @OptionGroup var options: BenchOptions

    func run() async throws {
        let command = self
        try await onThread(throwing: { try command.measure() })
    }

    private func measure() throws {
        let pool = try options.pool()
        let model = try measured.load(pool)
        guard newTokens >= 1, 32 + newTokens <= model.description.contextLength else {
            throw CommandFailure.usage("--new-tokens: \(newTokens) and a prompt of 32 are not in 1 … \(model.description.contextLength)")
        }
        let result: VerificationBenchmark
        do {
            result = try VerificationBenchmark.run(model, pool: pool, newTokens: newTokens)
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        let share = (result.ratio * 1000).rounded() / 10
        options.show(
            result.json,
            "verify   \(result.newTokens) tokens: \(Self.rounded(result.verifySeconds)) s, \(share) % of generating (\(Self.rounded(result.generateSeconds)) s) "
                + "(\(result.precision), \(result.threads) threads, \(result.instructionSet))")
        guard result.isVerified else { throw CommandFailure.failed("the text that was just generated is not proved") }
    }

    private static func rounded(_ seconds: Double) -> Double { (seconds * 1000).rounded() / 1000 }
}
