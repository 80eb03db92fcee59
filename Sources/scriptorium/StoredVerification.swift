import Client
import Encodings
import Generation
import TaskProtocol

/// Lets the service that stores a text prove it: a verify task, waited for.
struct StoredVerification {
    /// A text's id, or a task's.
    let id: UUIDValue
    let replay: Bool
    /// Whose signature the texts must have. It is checked here: nobody vouches for himself.
    let key: VerificationKey?
    let isJSON: Bool

    func run(_ service: ServiceOptions) async throws {
        let status = try await service.withClient { client in
            let id = try await submit(client)
            return try await client.wait(id)
        }
        guard status.state == "succeeded", let text = status.resultJSON, let result = try JSONValue.parse(text).objectValue else {
            throw CommandFailure.failed("task \(status.id) is \(status.state)" + (status.error.map { ": \($0)" } ?? ""))
        }
        let report = VerdictReport(isJSON: isJSON)
        for verdict in result["verdicts"]?.arrayValue ?? [.object(result)] { show(verdict.objectValue ?? [:], report) }
        try report.finish()
    }

    /// Texts and tasks have ids of one kind: what is no text is taken for a task.
    private func submit(_ client: ScriptoriumClient) async throws -> String {
        do {
            return try await client.submit(request("generation")).id
        } catch {
            guard case .refused(let refusal) = error, refusal.code == "not_found" else { throw error }
        }
        return try await client.submit(request("task")).id
    }

    private func request(_ subject: String) -> TaskRequest {
        var parameters: JSONObject = [subject: .string(id.description)]
        parameters.set("method", replay ? "replay" : nil)
        return TaskRequest(kind: "verify", parameters: parameters)
    }

    private func show(_ verdict: JSONObject, _ report: VerdictReport) {
        let proof = verdict["proof"].flatMap { try? Claim($0) }
        report.told(verdict, proof: proof, signatureFault: key.flatMap { fault(of: proof, $0) })
    }

    /// What is wrong with who signed; nil where the right key did.
    private func fault(of proof: Claim?, _ key: VerificationKey) -> Finding? {
        guard let proof else {
            return Finding(.format, "the proof is not here, so nobody can say who signed it: read it with scriptorium.proof() in SQL")
        }
        return proof.signatureFault(key)
    }
}

extension VerdictReport {
    /// Tells a verdict of the service, with what was found here of its signature.
    func told(_ verdict: JSONObject, proof: Claim?, signatureFault: Finding?) {
        let whole = signatureFault.map { verdict.adding($0) } ?? verdict
        let isProved = whole["verified"]?.boolValue == true
        count(isProved: isProved)
        guard !isJSON else { return StandardOutput.write(JSONValue.object(whole).canonical + [UInt8(ascii: "\n")]) }
        let generation = verdict["generation"]?.stringValue ?? verdict["first_difference"]?["generation"]?.stringValue
        print("text \(generation ?? "\(proof?.members["sample"]?.intValue ?? 0)") (\(verdict["method"]?.stringValue ?? ""))")
        if let message = verdict["message"]?.stringValue {
            step(VerificationStep(verdict["verified"]?.boolValue == false ? .fails : .unknown, message))
        }
        if let signatureFault { step(VerificationStep(signatureFault)) }
        if let difference = verdict["first_difference"], !difference.isNull {
            print("          expected \(Self.text(difference["expected"] ?? .null)), found \(Self.text(difference["actual"] ?? .null))")
        }
        if let bits = verdict["surprisal_bits"]?.doubleValue {
            let note = verdict["findable"]?.boolValue == true ? ": short enough to have been found by trying seeds" : ""
            step(VerificationStep(.note, "surprisal \((bits * 10).rounded() / 10) bits\(note)"))
        }
        print(isProved ? "verified" : whole["verified"]?.isNull == true ? "undecided" : "NOT VERIFIED")
    }
}

extension JSONObject {
    /// A verdict with one more reason against it: one that is false already keeps the reason that decided.
    fileprivate func adding(_ finding: Finding) -> JSONObject {
        var members = self
        members["reasons"] = .array((self["reasons"]?.arrayValue ?? []) + [.string(finding.reason.rawValue)])
        guard self["verified"]?.boolValue != false, finding.reason.isDisproof || self["verified"]?.isNull == false else { return members }
        members["verified"] = finding.reason.isDisproof ? false : .null
        members["reason"] = .string(finding.reason.rawValue)
        members["message"] = .string(finding.message)
        return members
    }
}
