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
    /// The number of the first draw: a replay of a search with beams begins with the one that was kept, and so does the search for a
    /// sample's number.
    package var firstDraw = 0
    /// The one text that a replay is about: a sample that turns out to be another is cut short.
    var expected: ExpectedText?
    /// What the proof record says beside the text itself.
    package var identity: ProofIdentity

    /// Texts at most where a proof must find, or draw, all of them: with several prompts (of which a record says the sample, i·n + k,
    /// but not n), and with torch's random numbers, which samples share.
    package static let mostTexts = 65_536

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

/// A text that is to come out of a request: what does not begin like it need not be generated to its end.
struct ExpectedText: Sendable {
    let tokens: [Int32]
    let draw: Int
    /// The sample's number within its prompt; nil: any may be it.
    let number: Int?

    /// Whether a sample with this token is another text.
    /// - Parameter index: of the generated tokens, counted from 0.
    func excludes(_ token: Int32, at index: Int, draw: Int, number: Int) -> Bool {
        if let wanted = self.number, wanted != number { return false }
        guard draw == self.draw else { return draw > self.draw }
        return index >= tokens.count || tokens[index] != token
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
