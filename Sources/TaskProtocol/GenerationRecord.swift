/// One finished text as a worker reports it: what becomes a row of `generations`.
///
/// Model, seed, rng, precision and the worker's name are not here: the broker knows them from the resolved task and the lease.
package struct GenerationRecord: Sendable, Equatable {
    /// i·n + k for sample k of prompt i.
    package var sample: Int
    package var promptIndex: Int
    /// 0, or the number of the redraw that was kept.
    package var draw: Int
    package var prompt: String
    package var text: String
    /// JSON of the texts by marker, where a schema was asked for.
    package var schema: [UInt8]?
    package var promptTokenIDs: [Int32]
    /// The generated tokens, the end token and those behind a `stop` string included.
    package var tokenIDs: [Int32]
    package var finishReason: FinishReason
    /// Mean of the model's own log-probabilities of ``tokenIDs``; nil where none was generated.
    package var meanLogprob: Double?
    /// JSON of the log-probabilities, where asked for.
    package var logprobs: [UInt8]?
    /// 16 where every redraw failed too and the last was kept.
    package var redrawn: Int?
    /// Canonical JSON of every effective value, as the proof record holds it.
    package var params: [UInt8]
    /// Digest of the proof record, 64 hexadecimal digits.
    package var recordSHA256: String
    /// Who vouches for the proof record, `ed25519:<public key>:<signature>`; nil where the worker has no key.
    package var signature: String?
    /// As `float32/1`.
    package var numerics: String
    /// The checkpoint digest, 64 hexadecimal digits.
    package var checkpointSHA256: String
    /// 64 hexadecimal digits.
    package var tokenizerSHA256: String

    package init(
        sample: Int, promptIndex: Int, draw: Int, prompt: String, text: String, schema: [UInt8]? = nil, promptTokenIDs: [Int32], tokenIDs: [Int32],
        finishReason: FinishReason, meanLogprob: Double?, logprobs: [UInt8]? = nil, redrawn: Int? = nil, params: [UInt8], recordSHA256: String,
        signature: String? = nil, numerics: String, checkpointSHA256: String, tokenizerSHA256: String
    ) {
        self.sample = sample
        self.promptIndex = promptIndex
        self.draw = draw
        self.prompt = prompt
        self.text = text
        self.schema = schema
        self.promptTokenIDs = promptTokenIDs
        self.tokenIDs = tokenIDs
        self.finishReason = finishReason
        self.meanLogprob = meanLogprob
        self.logprobs = logprobs
        self.redrawn = redrawn
        self.params = params
        self.recordSHA256 = recordSHA256
        self.signature = signature
        self.numerics = numerics
        self.checkpointSHA256 = checkpointSHA256
        self.tokenizerSHA256 = tokenizerSHA256
    }
}
