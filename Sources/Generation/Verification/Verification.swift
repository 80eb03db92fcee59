import Encodings
package import LanguageModels
import Tokenizers

/// A claim on its way to its verdict.
///
/// inspected → forward or replay → decided; what needs no tokens is looked at first, and a claim that it disproves is still read, so
/// that the verdict names the first token that differs. One step is a chunk of a pass, or a token of a replay.
package final class Verification {
    private enum Stage {
        case forward(ForwardPass)
        case replay(Replay)
        case decided(Verdict)
    }

    private let claim: Claim
    private let say: (VerificationStep) -> Void
    /// What was found before the tokens were looked at.
    private let known: [Finding]
    private var stage: Stage

    init(_ verifier: Verifier, _ claim: Claim, method wanted: VerificationMethod?, key: VerificationKey?, say: @escaping (VerificationStep) -> Void) {
        self.claim = claim
        self.say = say
        let inspection = Inspection(claim, key: key, precision: verifier.model.precision)
        for step in inspection.steps { say(step) }
        var findings = inspection.findings
        guard let record = inspection.record, let request = inspection.request else {
            known = []
            stage = .decided(Verdict(findings: findings, method: wanted ?? .forward))
            return
        }
        let obstacle = request.obstacleToOnePass(
            record, claim, sampleNumbers: inspection.sampleNumbers, context: verifier.model.description.contextLength)
        let method = wanted ?? (obstacle == nil ? .forward : .replay)
        findings += Self.check(verifier, record, request, say)
        if let obstacle {
            if method == .forward {
                let finding = Finding(.needsReplay, "one pass cannot prove it: \(obstacle)")
                say(VerificationStep(finding))
                findings.append(finding)
            } else {
                say(VerificationStep(.note, "it is generated anew: \(obstacle)"))
            }
        }
        known = findings
        // Another model, arithmetic or method would name differences that are none.
        guard findings.allSatisfy(\.reason.isDisproof) else {
            stage = .decided(Verdict(findings: findings, method: method))
            return
        }
        do throws(GenerationError) {
            switch method {
            case .forward: stage = .forward(try ForwardPass(verifier, record, request, sampleNumbers: inspection.sampleNumbers))
            case .replay: stage = .replay(try Replay(verifier, record, request, sampleNumbers: inspection.sampleNumbers))
            }
        } catch {
            let finding = Finding(.impossible, "no text comes of these parameters: \(error)")
            say(VerificationStep(finding))
            stage = .decided(Verdict(findings: [finding] + findings, method: method))
        }
    }

    /// What a model can say without reading: whether it is the one, and whether the prompt has these tokens.
    private static func check(
        _ verifier: Verifier, _ record: ProofRecord, _ request: GenerationRequest, _ say: (VerificationStep) -> Void
    ) -> [Finding] {
        var findings: [Finding] = []
        if record.checkpointSHA256 != verifier.model.checkpointSHA256 {
            findings.append(
                Finding(
                    .weights,
                    "the record names the checkpoint \(record.checkpointSHA256.prefix(12))…, and this model is \(verifier.model.checkpointSHA256.prefix(12))…"
                ))
        }
        if record.tokenizerSHA256 != verifier.tokenizer.digest {
            findings.append(
                Finding(
                    .tokenizer,
                    "the record names the tokenizer \(record.tokenizerSHA256.prefix(12))…, and this model's is \(verifier.tokenizer.digest.prefix(12))…"
                ))
        }
        guard findings.isEmpty else {
            for finding in findings { say(VerificationStep(finding)) }
            return findings
        }
        say(VerificationStep(.holds, "model and tokenizer are those of the record"))
        if let finding = checkPrompt(verifier, record, request) {
            say(VerificationStep(finding))
            return [finding]
        }
        say(VerificationStep(.holds, "the prompt has its \(record.promptTokenIDs.count) tokens"))
        return []
    }

    private static func checkPrompt(_ verifier: Verifier, _ record: ProofRecord, _ request: GenerationRequest) -> Finding? {
        let description = verifier.model.description
        let tokens = try? verifier.tokenizer.promptTokens(
            record.prompt, prependBos: request.prependBos ?? description.lineByLine, description: description)
        guard tokens != record.promptTokenIDs else { return nil }
        let list = { (ids: [Int32]?) in ids.map { JSONValue.array($0.map { .integer(Int64($0)) }) } ?? .null }
        return Finding(
            .prompt, "the prompt has other tokens than the record says",
            Difference(field: "prompt_token_ids", expected: list(tokens), actual: list(record.promptTokenIDs)))
    }

    /// The verdict, once there is one.
    package var verdict: Verdict? {
        guard case .decided(let verdict) = stage else { return nil }
        return verdict
    }

    /// Tokens read or made so far.
    package var tokensDone: Int {
        switch stage {
        case .forward(let pass): pass.fed
        case .replay(let replay): replay.tokensDone
        case .decided: 0
        }
    }

    /// Goes on by a step.
    /// - Throws: where the engine cannot; nothing is decided then.
    package func step() throws(ModelError) {
        switch stage {
        case .decided: return
        case .forward(let pass):
            guard let result = try pass.step() else { return }
            decide(pass.findings(result, claim), bits: pass.surprisalBits, .forward)
        case .replay(let replay):
            guard let findings = try replay.step(claim) else { return }
            decide(findings, bits: nil, .replay)
        }
    }

    private func decide(_ findings: [Finding], bits: Double?, _ method: VerificationMethod) {
        // Another prompt than the tokens' makes another text, too: it is what tells most.
        let (first, others) = (known.filter { $0.reason == .prompt }, known.filter { $0.reason != .prompt })
        let verdict = Verdict(findings: first + findings + others, method: method, surprisalBits: findings.isEmpty ? bits : nil)
        stage = .decided(verdict)
        for finding in findings { say(VerificationStep(finding)) }
        guard findings.isEmpty else { return }
        let text = claim.text == nil ? "and the text ends where it must" : "the text ends where it must, and it follows from its tokens"
        say(VerificationStep(.holds, "every token is the one that the record yields, \(text)"))
        guard let bits else { return }
        let rounded = (bits * 10).rounded() / 10
        say(
            VerificationStep(
                .note,
                verdict.isFindable == true
                    ? "surprisal \(rounded) bits: short enough to have been found by trying seeds"
                    : "surprisal \(rounded) bits: too many seeds to try until one gives it; prompt and parameters may have been chosen too"))
    }
}

extension GenerationRequest {
    /// Why one pass over a text cannot prove it; nil where it can.
    func obstacleToOnePass(_ record: ProofRecord, _ claim: Claim, sampleNumbers: [Int], context: Int) -> String? {
        if parameters.numBeams > 1 { return "a search with beams looks at other texts too" }
        if parameters.slidingWindow, record.promptTokenIDs.count + record.tokenIDs.count - 1 > context {
            return "the text is longer than the model's context, and its window moved"
        }
        guard parameters.doSample else { return nil }
        if text.nonemptyOutput || text.deduplicate, (1...BatchScheduler.maximumDraw).contains(record.draw) {
            return "it was drawn again, and that the earlier draws were refused shows only where they are made"
        }
        if text.deduplicate, sampleNumbers.contains(where: { $0 > 0 }) { return "the texts before it decide whether it is drawn again" }
        guard parameters.rng == .torch else { return nil }
        if record.draw > 0 { return "torch's numbers go on behind texts that were drawn before" }
        if let size = parameters.batchSize, sampleNumbers.contains(where: { $0 >= size }) { return "torch's numbers go on behind the batches before" }
        if text.nonemptyOutput, claim.text.map({ FinishedText.isEmpty($0, minLength: parameters.minLength) }) ?? true {
            return "the texts beside it decide whether an empty one is drawn again"
        }
        return nil
    }
}
