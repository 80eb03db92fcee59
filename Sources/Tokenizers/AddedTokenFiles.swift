import Encodings

/// What stands beside `vocab.json` and `merges.txt` of tokens that are cut out of texts, as transformers writes it: `tokenizer_config.json`
/// (`added_tokens_decoder`, of version 4.34 on), `added_tokens.json` (older versions), and `special_tokens_map.json`, which says which of the
/// latter, and which of the vocabulary, are special. `tokenizer.json` needs none of them.
struct AddedTokenFiles {
    /// The folder, and what stands before the files' names.
    private let prefix: String

    init(prefix: some StringProtocol) { self.prefix = String(prefix) }

    /// Adds every token that has an id; one that is in the tokenizer already stays as it is. A special token without an id, which
    /// transformers would number beyond the model's rows, stays plain text.
    func add(to builder: inout TokenizerBuilder) throws(TokenizerError) {
        let special = try specialTokens()
        try add(describedTokens(), of: "tokenizer_config.json", to: &builder)
        try add(listedTokens(special: Set(special.map { Array($0.utf8) })), of: "added_tokens.json", to: &builder)
        var known: [AddedToken] = []
        for content in special {
            if let index = builder.vocabulary.index(of: content) { known.append(AddedToken(id: builder.ids[index], content: content)) }
        }
        try add(known, of: "special_tokens_map.json", to: &builder)
    }

    private func add(_ tokens: [AddedToken], of name: String, to builder: inout TokenizerBuilder) throws(TokenizerError) {
        for token in tokens where !builder.isAdded(token.content) {
            do throws(TokenizerError) { try builder.addAdded(token) } catch {
                guard case .malformed(_, let problem) = error else { throw error }
                throw .malformed(file: prefix + name, problem: problem)
            }
        }
    }

    /// `{"50257": {"content": "<|title|>", "special": true, …}, …}`.
    private func describedTokens() throws(TokenizerError) -> [AddedToken] {
        guard let list = try object("tokenizer_config.json")?["added_tokens_decoder"] else { return [] }
        var tokens: [AddedToken?] = []
        list.forEachMember { id, node in
            guard let id = Int32(id.stringValue ?? ""), let content = node["content"]?.stringValue else { return tokens.append(nil) }
            func flag(_ name: String) -> Bool { node[name]?.boolValue ?? false }
            var token = AddedToken(id: id, content: content)
            (token.isSpecial, token.isNormalized, token.isSingleWord) = (flag("special"), flag("normalized"), flag("single_word"))
            (token.stripsLeft, token.stripsRight) = (flag("lstrip"), flag("rstrip"))
            tokens.append(token)
        }
        return try all(tokens, "tokenizer_config.json", "added_tokens_decoder is not an object of ids and tokens")
    }

    /// `{"<|title|>": 50257, …}`: those that are not special are looked for in what the others left.
    private func listedTokens(special: Set<[UInt8]>) throws(TokenizerError) -> [AddedToken] {
        var tokens: [AddedToken?] = []
        try object("added_tokens.json")?.forEachMember { content, id in
            guard let number = id.integerValue, let id = Int32(exactly: number) else { return tokens.append(nil) }
            var token = AddedToken(id: id, content: content.stringValue ?? "")
            token.isSpecial = special.contains(Array(token.content.utf8))
            token.isNormalized = !token.isSpecial
            tokens.append(token)
        }
        return try all(tokens, "added_tokens.json", "it is not an object of tokens and their ids").sorted { $0.id < $1.id }
    }

    /// Each member is a token, an object with its `content`, or a list of either.
    private func specialTokens() throws(TokenizerError) -> [String] {
        var contents: [String] = []
        func take(_ node: Node) {
            if let content = node.stringValue ?? node["content"]?.stringValue { contents.append(content) }
        }
        try object("special_tokens_map.json")?.forEachMember { _, value in
            take(value)
            value.forEachElement(take)
        }
        return contents
    }

    private func all(_ tokens: [AddedToken?], _ name: String, _ problem: String) throws(TokenizerError) -> [AddedToken] {
        let whole = tokens.compactMap { $0 }
        guard whole.count == tokens.count else { throw .malformed(file: prefix + name, problem: problem) }
        return whole
    }

    /// The file's object; nil where there is no such file.
    private func object(_ name: String) throws(TokenizerError) -> Node? {
        guard FileContents.kind(prefix + name) == .file else { return nil }
        let root = try parseJSON(prefix + name)
        guard root.kind == .map else { throw .malformed(file: prefix + name, problem: "it is not a JSON object") }
        return root
    }
}
