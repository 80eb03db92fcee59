package import Encodings
import Kernels

/// What a claim tells by itself, before any model is asked: whether its record has its digest, can be read, and who signed it.
struct Inspection {
    private(set) var findings: [Finding] = []
    private(set) var steps: [VerificationStep] = []
    /// Nil where the record cannot be read.
    private(set) var record: ProofRecord?
    /// What the record asks for.
    private(set) var request: GenerationRequest?
    /// The numbers within its prompt that the sample may have.
    private(set) var sampleNumbers: [Int] = []

    /// - Parameters:
    ///   - key: who must have signed it; nil: a signature is looked at where there is one.
    ///   - precision: that of the model at hand; nil where there is none.
    init(_ claim: Claim, key: VerificationKey?, precision: WeightPrecision?) {
        let bytes = claim.canonicalRecord
        checkDigest(claim, SHA256Digest.hex(of: bytes))
        checkSignature(claim, key)
        do throws(RecordError) {
            let record = try ProofRecord(claim.members)
            let request = try GenerationRequest(record: record)
            sampleNumbers = try record.sampleNumbers(n: record.params["n"] == nil ? nil : request.n)
            (self.record, self.request) = (record, request)
            checkNumerics(record, precision)
        } catch {
            add(Finding(.format, "the record cannot be read: \(error)"))
        }
    }

    private mutating func add(_ finding: Finding) {
        findings.append(finding)
        steps.append(VerificationStep(finding))
    }

    private mutating func checkDigest(_ claim: Claim, _ digest: String) {
        guard let stored = claim.recordSHA256 else { return steps.append(VerificationStep(.note, "no digest of the record was given")) }
        guard stored == digest else {
            let difference = Difference(field: "record_sha256", expected: .string(digest), actual: .string(stored))
            return add(Finding(.record, "the record was changed: it no longer has the digest that was stored with it", difference))
        }
        steps.append(VerificationStep(.holds, "the record has its digest \(digest.prefix(12))…"))
    }

    private mutating func checkSignature(_ claim: Claim, _ key: VerificationKey?) {
        if let fault = claim.signatureFault(key) { return add(fault) }
        if let key { return steps.append(VerificationStep(.holds, "the owner of \(key) signed the record")) }
        guard let signer = claim.signature.flatMap(NamedSignature.init)?.key else { return }
        steps.append(VerificationStep(.note, "signed by \(signer); whose key that is, --public-key must say"))
    }

    private mutating func checkNumerics(_ record: ProofRecord, _ model: WeightPrecision?) {
        let precision = WeightPrecision(rawValue: record.precision)
        guard let precision, record.numerics == Numerics.version(of: precision) else {
            return add(
                Finding(
                    .numerics,
                    "the text was made with the arithmetic \(record.numerics.prefix(40)) at \(record.precision.prefix(40)), "
                        + "this program computes in \(Numerics.all.joined(separator: ", "))"))
        }
        guard let model, model != precision else { return }
        add(Finding(.numerics, "the text was made in \(precision.rawValue), and the model was loaded in \(model.rawValue)"))
    }
}

extension Claim {
    /// What is wrong with who signed the record; nil where nothing is.
    /// - Parameter key: who must have signed it; nil: a signature must fit the record where there is one.
    package func signatureFault(_ key: VerificationKey?) -> Finding? {
        guard let signature else { return key == nil ? nil : Finding(.unsigned, "nobody signed the record") }
        guard let signature = NamedSignature(signature), signature.isValid(for: canonicalRecord) else {
            return Finding(.signature, "the signature does not fit the record")
        }
        guard let key, signature.key != key else { return nil }
        let difference = Difference(field: "signature", expected: .string("\(key)"), actual: .string("\(signature.key)"))
        return Finding(.signer, "the record was signed by another key, \(signature.key)", difference)
    }
}

extension ProofRecord {
    /// The numbers k within its prompt i that a record's sample, i·n + k, may have.
    ///
    /// A record does not say how many texts `n` a prompt had, as that changes none of them, but with torch's random numbers. With one
    /// prompt k is the sample; else each n with i·n ≤ sample < (i + 1)·n gives one, and no such request has more texts than
    /// ``GenerationRequest/mostTexts``.
    func sampleNumbers(n: Int?) throws(RecordError) -> [Int] {
        let wrong = RecordError(member: "sample", problem: "no request has a sample \(sample) of prompt \(promptIndex)")
        if let n {
            let number = sample - promptIndex * n
            guard (0..<n).contains(number) else { throw wrong }
            return [number]
        }
        guard promptIndex > 0 else { return [sample] }
        let (least, most) = (sample / (promptIndex + 1) + 1, sample / promptIndex)
        guard least <= most, sample < GenerationRequest.mostTexts else { throw wrong }
        return (least...most).map { sample - promptIndex * $0 }
    }
}
