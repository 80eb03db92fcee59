package import Encodings

/// One request to the scheduler: prompts, how many texts of each, and everything that shapes them.
///
/// A plain value without a task, a lease or a name: whoever holds those keeps them under the ``RequestID`` that
/// ``BatchScheduler/add(_:)`` answers.
package struct GenerationRequest: Sendable {
    /// The prompts; sample k of prompt i is numbered i·n + k.
    package var prompts: [String]
    /// The prompts' tokens where they are settled already (a proof's, a test's); nil: encoded here.
    package var promptTokenIDs: [[Int32]]?
    /// Texts for each prompt.
    package var n: Int
    /// What shapes the tokens.
    package var parameters: SamplingParameters
    /// What shapes the texts.
    package var text: TextOptions
    /// A beginning-of-text token stands before every prompt; nil: as the model's `line_by_line` says.
    package var prependBos: Bool?
    /// Report each token as it comes.
    package var stream: Bool
    /// The first sample to make, of a request with one prompt whose samples are settled one by one: a replay needs no others.
    package var firstSample = 0
    /// The number of the first draw of a search with beams: a replay begins with the one that was kept.
    package var firstDraw = 0
    /// What the proof record says beside the text itself.
    package var identity: ProofIdentity

    /// A request with the contract's defaults.
    package init(
        prompts: [String], promptTokenIDs: [[Int32]]? = nil, n: Int = 1, parameters: SamplingParameters = SamplingParameters(),
        text: TextOptions = TextOptions(),
        prependBos: Bool? = nil, stream: Bool = false, identity: ProofIdentity = ProofIdentity()
    ) {
        self.prompts = prompts
        self.promptTokenIDs = promptTokenIDs
        self.n = n
        self.parameters = parameters
        self.text = text
        self.prependBos = prependBos
        self.stream = stream
        self.identity = identity
    }
}

/// The members of a proof record that the engine does not know by itself.
///
/// The digests of checkpoint and tokenizer come from what is loaded, never from the request.
package struct ProofIdentity: Sendable {
    /// The effective parameters as recorded: every default filled in.
    package var params: JSONObject
    /// True where the seed was not given but assigned.
    package var seedAssigned: Bool

    /// - Parameter params: the effective parameters, canonical once serialised.
    package init(params: JSONObject = [:], seedAssigned: Bool = false) {
        self.params = params
        self.seedAssigned = seedAssigned
    }
}

/// Names a request inside one scheduler.
package struct RequestID: Hashable, Sendable, Comparable, CustomStringConvertible {
    /// Counts up from 0 in the order of arrival.
    package let value: UInt64

    package init(value: UInt64) { self.value = value }

    package static func < (a: RequestID, b: RequestID) -> Bool { a.value < b.value }
    package var description: String { "request \(value)" }
}
