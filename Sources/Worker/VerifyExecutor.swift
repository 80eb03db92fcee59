import Encodings
import Generation
import LanguageModels
import TaskProtocol

/// One verify task in the engine: its texts one after another, a chunk of a pass (or a token of a replay) a turn, so that between any two
/// the engine goes on with what else it runs and looks at its mail.
///
/// Weights that are not there, or are others than the digest says, are no failure: the verdict is null then, and says so.
final class VerifyRun {
    let lease: LeaseID
    private let parameters: VerifyParameters
    private let texts: [ResolvedText]
    private let report: (EngineReport) -> Void
    /// Nil where the model is not at hand.
    private var seat: ModelSeat?
    private var verifier: Verifier?
    /// Why it is not.
    private var absence = ""
    private var current: Verification?
    private var verdicts: [TextVerdict] = []
    private var saidProgressAt: Milliseconds
    private static let progressMilliseconds: Milliseconds = 1000

    /// How a turn ended.
    enum Outcome { case goesOn, ended }

    /// - Parameter seat: the model at work, or why there is none.
    /// - Throws: a fault that another attempt may do without.
    init(
        lease: LeaseID, task: ResolvedTask, parameters: VerifyParameters, seat: Result<ModelSeat, TaskFault>, now: Milliseconds,
        report: @escaping (EngineReport) -> Void
    ) throws(TaskFault) {
        (self.lease, self.parameters, texts, self.report) = (lease, parameters, task.texts, report)
        saidProgressAt = now
        switch seat {
        case .success(let seat):
            do throws(ModelError) { verifier = try seat.verifier() } catch { throw TaskFault(error) }
            seat.verifications += 1
            self.seat = seat
        case .failure(let fault):
            guard fault.isFinal || fault.isMissingArtifact else { throw fault }
            absence = fault.error.message
        }
        report(.started(lease))
    }

    /// Gives back what it holds of its model.
    func end() {
        current = nil
        verifier = nil
        seat?.verifications -= 1
        seat = nil
    }

    /// One step.
    func turn(now: Milliseconds) -> Outcome {
        do throws(TaskFault) {
            guard let text = texts.indices.contains(verdicts.count) ? texts[verdicts.count] : nil else {
                end()
                report(.finished(lease, generations: [], result: VerifyResult(verdicts: verdicts, parameters: parameters).json))
                return .ended
            }
            try go(on: text)
            sayProgress(now)
            return .goesOn
        } catch {
            end()
            report(error.report(lease))
            return .ended
        }
    }

    private func go(on text: ResolvedText) throws(TaskFault) {
        let proof: JSONValue
        do throws(DocumentError) { proof = try JSONValue.parse(text.proof) } catch {
            throw TaskFault(.internalError, "the task's proofs cannot be read: \(error)", isFinal: true)
        }
        let claim: Claim
        do throws(RecordError) { claim = try Claim(proof) } catch {
            return add(text, nil, Verdict(findings: [Finding(.format, "the stored proof cannot be read: \(error)")], method: method))
        }
        guard let verifier else { return add(text, claim, Verifier.verdict(claim, method: parameters.verificationMethod, withoutModel: absence)) }
        let verification = current ?? verifier.begin(claim, method: parameters.verificationMethod)
        current = verification
        if verification.verdict == nil {
            do throws(ModelError) { try verification.step() } catch { throw .transient("a text cannot be read: \(error)") }
        }
        guard let verdict = verification.verdict else { return }
        current = nil
        add(text, claim, verdict)
    }

    private var method: VerificationMethod { parameters.verificationMethod ?? .forward }

    private func add(_ text: ResolvedText, _ claim: Claim?, _ verdict: Verdict) {
        verdicts.append(TextVerdict(generation: text.generation, claim: claim, verdict: verdict))
    }

    /// A sign of life, in tokens: each text counts as if it had the most that a text can have.
    private func sayProgress(_ now: Milliseconds) {
        guard now - saidProgressAt >= Self.progressMilliseconds else { return }
        saidProgressAt = now
        report(
            .progress(
                lease,
                WorkerProgress(
                    phase: .verifying, done: verdicts.count * Self.most + min(current?.tokensDone ?? 0, Self.most - 1), total: texts.count * Self.most
                ),
                steps: []))
    }

    /// More tokens than any text has.
    private static let most = 1 << 17
}

extension VerifyParameters {
    /// The method in the engine's words.
    fileprivate var verificationMethod: VerificationMethod? {
        switch method {
        case .forward: .forward
        case .replay: .replay
        case nil: nil
        }
    }
}
