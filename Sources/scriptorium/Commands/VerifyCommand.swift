import ArgumentParser
import Client
import Encodings
import Generation
import Kernels
import Messaging
import Supervision
import TaskProtocol
import Worker

/// `scriptorium verify`: proves texts, here with nothing but the model's files, or by the service that stores them.
struct VerifyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Prove that texts are what their model, prompt, parameters and seed yield.",
        discussion: """
            FILE holds proofs, one a line: of `generate --json`, of `generate --to-file` (its .jsonl), of scriptorium.proof() in SQL, or verdicts with a \
            proof in them. With --model they are checked here, by one pass over each text. A stored text's or task's id instead of a file \
            is checked by the service.

            Exit status 0: all are proved; 1: one is not, or cannot be decided here (the reason says why). What a proof says and what not: \
            docs/verification.md.
            """)

    @Argument(help: ArgumentHelp("A file of proofs, - for standard input, or the id of a stored text or of a task.", valueName: "file|-|id"))
    var subject: String

    @Option(help: ArgumentHelp("The model: a Hugging Face directory.", valueName: "directory"))
    var model: String?

    @Flag(help: "Generate anew instead of reading in one pass.")
    var replay = false

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Whose signature the proofs must have: 64 hexadecimal digits, or a PEM file.", valueName: "key|file"))
    var publicKey: String?

    @Flag(help: "Print one JSON object a text: the verdict with its proof.")
    var json = false

    @Option(help: ArgumentHelp("Threads; default: one a processor.", valueName: "count"))
    var threads: Int?

    @OptionGroup var service: ServiceOptions

    func validate() throws {
        if let threads, !(1...1024).contains(threads) { throw ValidationError("--threads: \(threads) is not in 1 … 1024") }
        if stored == nil, model == nil { throw ValidationError("give --model DIRECTORY, or the id of a stored text") }
        if stored != nil, model != nil { throw ValidationError("a stored text is checked by the service: leave --model out") }
    }

    /// The id, where one was given.
    private var stored: UUIDValue? { UUIDValue(subject) }

    func run() async throws {
        let key: VerificationKey?
        do throws(KeyFileError) {
            key = try publicKey.map { argument throws(KeyFileError) in try SigningKeyFile.publicKey(argument) }
        } catch { throw CommandFailure.usage("--public-key: \(error)") }
        if let stored { return try await StoredVerification(id: stored, replay: replay, key: key, isJSON: json).run(service) }
        guard let model else { throw CommandFailure.usage("give --model DIRECTORY") }
        let command = self
        try await onThread(throwing: { try command.check(model, key) })
    }

    /// Checks a file's proofs here. It computes, so it runs on a thread of its own.
    private func check(_ model: String, _ key: VerificationKey?) throws {
        let claims = try ProofFile.claims(subject)
        let report = VerdictReport(isJSON: json)
        var verifiers: [WeightPrecision: Verifier] = [:]
        do {
            for (index, claim) in claims.enumerated() {
                let precision = claim.precision ?? .float32
                let verifier = try verifiers[precision] ?? verifier(model, precision)
                verifiers[precision] = verifier
                report.begin(claim, index: index)
                let verdict = try verifier.verify(claim, method: replay ? .replay : nil, key: key) { report.step($0) }
                report.end(claim, verdict)
            }
        } catch let failure as CommandFailure {
            throw failure
        } catch {
            throw CommandFailure.failed("\(error)")
        }
        try report.finish()
    }

    /// The model as texts of a precision were made with it.
    private func verifier(_ model: String, _ precision: WeightPrecision) throws -> Verifier {
        let engine = try LocalEngine(model: model, precision: precision, threads: threads)
        return try Verifier(model: engine.model, tokenizer: try engine.requiredTokenizer(), pool: engine.pool)
    }
}
