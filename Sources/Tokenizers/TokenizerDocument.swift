import Encodings

/// `tokenizer.json` of Hugging Face's `tokenizers`, as far as byte-level BPE goes.
///
/// Everything that would change ids and is not built here is refused by name. What changes none is passed over: `truncation`, `padding`
/// (texts are never cut or padded here) and `trim_offsets`.
struct TokenizerDocument {
    private let file: String
    private let root: Node

    static func load(_ file: String) throws(TokenizerError) -> Tokenizer {
        let root = try parseJSON(file)
        guard root.kind == .map else { throw .malformed(file: file, problem: "it is not a JSON object") }
        return try TokenizerDocument(file: file, root: root).read()
    }

    private func malformed(_ problem: String) -> TokenizerError { .malformed(file: file, problem: problem) }
    private func unsupported(_ problem: String) -> TokenizerError { .unsupported(file: file, problem: problem) }

    private func read() throws(TokenizerError) -> Tokenizer {
        guard let model = root["model"], model.kind == .map else { throw malformed("it has no object \"model\"") }
        if let type = model["type"], !type.equals("BPE") { throw unsupported("model type \(name(of: type)); only BPE is") }
        guard let vocabulary = model["vocab"], vocabulary.kind == .map else { throw malformed("model.vocab is not an object of tokens and ids") }
        guard let merges = model["merges"], merges.kind == .array else { throw malformed("model.merges is not a list") }
        var builder = TokenizerBuilder(file: file, capacity: vocabulary.count)
        builder.options = try readOptions(model)
        try checkSurroundings()
        try builder.addVocabulary(vocabulary)
        try addMerges(merges, to: &builder)
        try addAddedTokens(to: &builder)
        return try builder.build()
    }

    // MARK: Options

    private func readOptions(_ model: Node) throws(TokenizerError) -> TokenizerOptions {
        var options = TokenizerOptions()
        if let dropout = model["dropout"], dropout.doubleValue != 0 { throw unsupported("model.dropout (random merges)") }
        options.unknownToken = try text(model, "unk_token", in: "model")
        options.continuingSubwordPrefix = try text(model, "continuing_subword_prefix", in: "model") ?? ""
        options.endOfWordSuffix = try text(model, "end_of_word_suffix", in: "model") ?? ""
        options.fuseUnknown = try flag(model, "fuse_unk", in: "model")
        options.byteFallback = try flag(model, "byte_fallback", in: "model")
        options.ignoreMerges = try flag(model, "ignore_merges", in: "model")
        let byteLevel = try byteLevelPreTokenizer()
        options.addPrefixSpace = try flag(byteLevel, "add_prefix_space", in: "pre_tokenizer", default: true)
        options.useRegex = try flag(byteLevel, "use_regex", in: "pre_tokenizer", default: true)
        return options
    }

    private func byteLevelPreTokenizer() throws(TokenizerError) -> Node {
        guard let node = root["pre_tokenizer"] else { throw unsupported("no pre_tokenizer; only ByteLevel is") }
        let parts = try steps(node, "pretokenizers", of: "pre_tokenizer")
        guard parts.count == 1, let only = parts.first, only["type"]?.equals("ByteLevel") == true else {
            throw unsupported("pre_tokenizer \(parts.map { name(of: $0["type"]) }.joined(separator: ", ")); only one ByteLevel is")
        }
        return only
    }

    /// What stands around the model must leave ids and texts as byte-level BPE makes them.
    private func checkSurroundings() throws(TokenizerError) {
        if let normalizer = root["normalizer"], try !steps(normalizer, "normalizers", of: "normalizer").isEmpty {
            throw unsupported("normalizer \(name(of: normalizer["type"])); only none is")
        }
        guard let decoder = root["decoder"] else { throw unsupported("no decoder; only ByteLevel is") }
        for step in try steps(decoder, "decoders", of: "decoder") where step["type"]?.equals("ByteLevel") != true {
            throw unsupported("decoder \(name(of: step["type"])); only ByteLevel is")
        }
        guard let post = root["post_processor"] else { return }
        for step in try steps(post, "processors", of: "post_processor") where step["type"]?.equals("ByteLevel") != true {
            guard step["type"]?.equals("TemplateProcessing") == true, addsNothing(step) else {
                throw unsupported("post_processor \(name(of: step["type"])) that adds tokens to every text")
            }
        }
    }

    /// Whether a template is the text alone.
    private func addsNothing(_ template: Node) -> Bool {
        guard let single = template["single"], single.kind == .array else { return false }
        var isPlain = true
        single.forEachElement { if $0["Sequence"] == nil { isPlain = false } }
        return isPlain
    }

    /// The elements of a `Sequence`, or the one object itself.
    private func steps(_ node: Node, _ member: String, of place: String) throws(TokenizerError) -> [Node] {
        guard node.kind == .map else { throw malformed("\(place) is not an object") }
        guard node["type"]?.equals("Sequence") == true else { return [node] }
        guard let list = node[member], list.kind == .array else { throw malformed("\(place).\(member) is not a list") }
        var result: [Node] = []
        list.forEachElement { result.append($0) }
        return result
    }

    // MARK: Merges and added tokens

    private func addMerges(_ merges: Node, to builder: inout TokenizerBuilder) throws(TokenizerError) {
        var list: [(left: [UInt8], right: [UInt8])?] = []
        list.reserveCapacity(merges.count)
        merges.forEachElement { list.append(merge($0)) }
        for (index, parts) in list.enumerated() {
            guard let parts else { throw malformed("merge \(index + 1) is neither \"a b\" nor [\"a\", \"b\"]") }
            try builder.addMerge(parts.left, parts.right)
        }
    }

    private func merge(_ node: Node) -> (left: [UInt8], right: [UInt8])? {
        if node.kind == .string { return node.withUTF8 { mergeParts($0) } }
        var parts: [[UInt8]] = []
        node.forEachElement { if $0.kind == .string { parts.append($0.withUTF8 { Array($0) }) } }
        return parts.count == 2 && node.count == 2 ? (parts[0], parts[1]) : nil
    }

    private func addAddedTokens(to builder: inout TokenizerBuilder) throws(TokenizerError) {
        guard let tokens = root["added_tokens"] else { return }
        guard tokens.kind == .array else { throw malformed("added_tokens is not a list") }
        var list: [Node] = []
        tokens.forEachElement { list.append($0) }
        for (index, node) in list.enumerated() {
            let place = "added_tokens[\(index)]"
            guard let content = try text(node, "content", in: place) else { throw malformed("\(place) has no content") }
            guard let id = node["id"]?.integerValue, let small = Int32(exactly: id) else { throw malformed("\(place).id is not an id") }
            var token = AddedToken(id: small, content: content)
            token.isSpecial = try flag(node, "special", in: place)
            token.stripsLeft = try flag(node, "lstrip", in: place)
            token.stripsRight = try flag(node, "rstrip", in: place)
            token.isSingleWord = try flag(node, "single_word", in: place)
            token.isNormalized = try flag(node, "normalized", in: place, default: !token.isSpecial)
            try builder.addAdded(token)
        }
    }

    // MARK: Members

    private func text(_ node: Node, _ member: String, in place: String) throws(TokenizerError) -> String? {
        guard let value = node[member] else { return nil }
        guard let text = value.stringValue else { throw malformed("\(place).\(member) is not a string") }
        return text
    }

    private func flag(_ node: Node, _ member: String, in place: String, default assumed: Bool = false) throws(TokenizerError) -> Bool {
        guard let value = node[member] else { return assumed }
        guard let flag = value.boolValue else { throw malformed("\(place).\(member) is neither true nor false") }
        return flag
    }

    private func name(of type: Node?) -> String { type?.stringValue.map { "\"\($0.prefix(60))\"" } ?? "without a type" }
}
