import Encodings
import Generation
import Kernels
import LanguageModels
import TestSupport

/// Texts that can be proved, and what is done to them.
enum Proofs {
    /// A request with random parameters of every kind that the contract knows.
    static func request(_ engine: Engine, using generator: inout SeededGenerator) -> GenerationRequest {
        func one<Value>(_ values: [Value]) -> Value { values[Int.random(in: values.indices, using: &generator)] }
        var request = GenerationRequest(
            prompts: one([["In the"], ["", "The garden"], ["A", "He said", "Light"]]), n: Int.random(in: 1...4, using: &generator))
        var parameters = SamplingParameters()
        parameters.maxLength = one([12, 30, 64, 256])
        parameters.temperature = one([[0.7], [1], [1.6], [0.5, 1.5, 1]])
        parameters.topK = one([0, 0, 5, 40])
        parameters.topP = one([1, 1, 0.9, 0.5])
        parameters.minP = one([0, 0.05])
        parameters.typicalP = one([1, 0.8])
        parameters.repetitionPenalty = one([1, 1.3])
        parameters.noRepeatNgramSize = one([0, 2])
        parameters.minLength = one([nil, nil, 8, 20])
        parameters.badWords = one([[], ["the", "compass counts"]])
        parameters.bannedTokens = one([[], [5, 17]])
        parameters.stop = one([[], ["e ", "xyz"], ["\n"]])
        parameters.truncate = one([nil, nil, "th"])
        parameters.logprobs = one([nil, 0, 3])
        parameters.seed = UInt64.random(in: 0..<1 << 53, using: &generator)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0: (parameters.doSample, request.n) = (false, 1)
        case 1:
            parameters.numBeams = Int.random(in: 2...4, using: &generator)
            parameters.doSample = Bool.random(using: &generator)
            parameters.lengthPenalty = one([1, 0.5])
            parameters.earlyStopping = one([.no, .yes, .never])
            request.n = Int.random(in: 1...parameters.numBeams, using: &generator)
        case 2: (parameters.rng, parameters.batchSize) = (.torch, one([nil, 1]))
        case 3:
            (parameters.slidingWindow, parameters.maxLength) = (true, 90)
            // A model of 64 positions ends no text by itself as often as this needs.
            parameters.bannedTokens.append(0)
        default: break
        }
        request.parameters = parameters
        request.text.lstrip = one([true, false])
        request.text.includePrefix = one([true, false])
        request.text.skipSpecialTokens = one([true, true, false])
        request.text.cleanUpTokenizationSpaces = one([false, true])
        request.text.nonemptyOutput = one([true, true, false])
        request.text.deduplicate = one([false, false, true])
        if one([false, false, true]) { request.text.schema = Schema(tokens: ["the", "a"], returned: one([nil, ["a"]])) }
        request.prependBos = one([nil, true, false])
        return request.recorded(in: engine.model.precision)
    }

    /// A plain request whose texts are long enough to be changed.
    static func plain(in precision: WeightPrecision = .float32, _ edit: (inout GenerationRequest) -> Void = { _ in }) -> GenerationRequest {
        var request = GenerationRequest(prompts: ["In the"])
        request.parameters.maxLength = 48
        request.parameters.temperature = [1.1]
        request.parameters.seed = 4242
        request.parameters.logprobs = 1
        edit(&request)
        return request.recorded(in: precision)
    }
}

extension GenerationRequest {
    /// The request with its parameters in its proof record.
    func recorded(in precision: WeightPrecision) -> GenerationRequest {
        var request = self
        request.identity = ProofIdentity(params: effectiveParams(precision: precision), seedAssigned: true)
        return request
    }
}

extension GeneratedSample {
    /// What `generate --json` says of the sample.
    var claim: Claim { get throws { try Claim(JSONValue.parse(jsonLine)) } }
}

extension Claim {
    /// The claim with another value of a record's member, its digest made anew as a forger would.
    func forging(_ name: String, _ value: JSONValue) -> Claim {
        var copy = self
        copy.members[name] = value
        copy.recordSHA256 = SHA256Digest.hex(of: copy.canonicalRecord)
        return copy
    }

    /// The same of a parameter.
    func forging(parameter name: String, _ value: JSONValue) -> Claim {
        var params = members["params"]?.objectValue ?? [:]
        params[name] = value
        return forging("params", .object(params))
    }

    var tokens: [Int32] { members["token_ids"]?.ids ?? [] }

    func forging(tokens: [Int32]) -> Claim { forging("token_ids", .array(tokens.map { .integer(Int64($0)) })) }
}

extension Engine {
    func verifier() throws -> Verifier { try Verifier(model: model, tokenizer: tokenizer, pool: pool) }
}
