/// The switches of `tokenizer.json` that change ids. Their defaults are those of GPT-2.
package struct TokenizerOptions: Sendable, Equatable {
    /// A space is put before each text (and after each added token) that does not start with one.
    package var addPrefixSpace = false
    /// Text is cut by GPT-2's regular expression first; otherwise each stretch between added tokens is one piece.
    package var useRegex = true
    /// A piece that is a vocabulary entry as a whole becomes it, whatever the merges say.
    package var ignoreMerges = false
    /// The token of bytes that the vocabulary lacks. Without one they are dropped.
    package var unknownToken: String?
    /// Neighbouring unknown bytes become one unknown token.
    package var fuseUnknown = false
    /// Bytes that the vocabulary lacks are spelled with tokens such as `<0x0A>` where all of them exist.
    package var byteFallback = false
    /// What the entries of all but the first byte of a piece begin with.
    package var continuingSubwordPrefix = ""
    /// What the entry of the last byte of a piece ends with.
    package var endOfWordSuffix = ""

    package init() {}
}

/// A token that is cut out of the text before anything else, such as `<|endoftext|>`.
package struct AddedToken: Sendable, Equatable {
    package var id: Int32
    package var content: String
    /// Whether decoding can leave it out, and encoding can be told not to recognise it.
    package var isSpecial = true
    /// White space before it goes with it.
    package var stripsLeft = false
    /// White space after it goes with it.
    package var stripsRight = false
    /// It is recognised only where no word character stands beside it.
    package var isSingleWord = false
    /// It is looked for after the others, in what they left.
    package var isNormalized = false

    package init(id: Int32, content: String) {
        self.id = id
        self.content = content
    }
}
