import Encodings
import Synchronization

/// A byte-level BPE tokenizer as GPT-2 defined it: text to ids and back, the same ids as Hugging Face's `tokenizers`.
///
/// ```swift
/// let tokenizer = try Tokenizer.load(path: "trained_model")
/// let ids = tokenizer.encode("In the beginning")
/// print(tokenizer.decode(ids, skipSpecial: true))
/// ```
/// Encoding takes linear time but for pieces without a space, O(n log n); it may run on any number of threads at once.
/// Any bytes go through unharmed: the vocabulary has a token for each byte. Text is never shortened or padded.
///
/// Source: Sennrich et al. 2016; Radford et al. 2019.
package final class Tokenizer: Sendable {
    /// One more than the largest id: the rows that a model's embedding needs.
    package let vocabularySize: Int
    /// The id of `<|endoftext|>`, where the vocabulary has it.
    package let endOfTextID: Int?
    /// 64 hexadecimal digits that name what this tokenizer does: equal wherever vocabulary, merges, special tokens and options are,
    /// whatever files they came from. See `TokenizerDigest.swift` for the bytes.
    package let digest: String
    /// The switches it was made with.
    package let options: TokenizerOptions
    /// The tokens that are cut out of texts, by id.
    package let addedTokens: [AddedToken]

    let tables: EncodingTables
    let merges: [TokenizerBuilder.Merge]
    let decoding: DecodingTable
    private let plainMatcher: AddedTokenMatcher
    private let normalizedMatcher: AddedTokenMatcher
    private let addedIDs: ByteStringTable
    private let workspaces = Mutex<[EncodingWorkspace]>([])

    init(_ parts: consuming TokenizerBuilder) {
        options = parts.options
        merges = parts.merges
        addedTokens = parts.added.sorted { $0.id < $1.id }
        let vocabulary = parts.vocabulary
        let ids = parts.ids
        let pairs = PairTable(capacity: parts.merges.count)
        for (rank, merge) in parts.merges.enumerated() { pairs.insert(merge.left, merge.right, rank: UInt32(rank), merged: merge.merged) }
        tables = EncodingTables(
            symbols: SymbolTable(options: options) { spelling in vocabulary.index(of: spelling).map { ids[$0] } }, pairs: pairs,
            usesRegex: options.useRegex, ignoresMerges: options.ignoreMerges, vocabulary: vocabulary, vocabularyIDs: ids)
        decoding = DecodingTable(vocabulary: vocabulary, ids: ids, added: addedTokens)
        vocabularySize = decoding.count
        var addedIDs = ByteStringTable()
        for token in addedTokens { _ = addedIDs.insert(Array(token.content.utf8)) }
        self.addedIDs = addedIDs
        plainMatcher = AddedTokenMatcher(addedTokens.filter { !$0.isNormalized })
        normalizedMatcher = AddedTokenMatcher(addedTokens.filter(\.isNormalized))
        let end = Array("<|endoftext|>".utf8)
        endOfTextID = addedIDs.index(of: end).map { [addedTokens] in Int(addedTokens[$0].id) } ?? vocabulary.index(of: end).map { Int(ids[$0]) }
        digest = Self.digest(options: options, decoding: decoding, vocabulary: vocabulary, ids: ids, merges: merges, added: addedTokens)
    }

    /// The ids of a text.
    /// - Parameter recogniseSpecial: whether a special token written out in the text becomes its id; false treats it as plain text
    ///   (for prompts of strangers).
    package func encode(_ text: String, recogniseSpecial: Bool = true) -> [Int32] {
        var text = text
        var ids: [Int32] = []
        text.withUTF8 { encode(utf8: UnsafeRawBufferPointer($0), recogniseSpecial: recogniseSpecial, into: &ids) }
        return ids
    }

    /// Appends the ids of bytes that are UTF-8; bytes that are not come back whole from ``bytes(of:)`` too.
    package func encode(utf8 text: UnsafeRawBufferPointer, recogniseSpecial: Bool = true, into ids: inout [Int32]) {
        withWorkspace { workspace in
            encode(text.assumingMemoryBound(to: UInt8.self), recogniseSpecial, workspace)
            ids.append(contentsOf: workspace.ids)
        }
    }

    /// The id of a token by its name in the vocabulary (`Ġthe`) or among the added tokens.
    package func id(ofToken name: String) -> Int32? {
        if let index = addedIDs.index(of: name) { return addedTokens[index].id }
        return tables.vocabulary.index(of: name).map { tables.vocabularyIDs[$0] }
    }

    private func withWorkspace(_ body: (EncodingWorkspace) -> Void) {
        let workspace = workspaces.withLock { $0.popLast() } ?? EncodingWorkspace()
        body(workspace)
        workspace.clear()
        workspaces.withLock { $0.append(workspace) }
    }

    private func encode(_ text: UnsafeBufferPointer<UInt8>, _ recogniseSpecial: Bool, _ workspace: EncodingWorkspace) {
        guard !text.isEmpty else { return }
        if plainMatcher.isEmpty && normalizedMatcher.isEmpty { return encodePlain(text, workspace) }
        plainMatcher.split(text, recogniseSpecial: recogniseSpecial) { range, id in
            if let id { return workspace.append(id) }
            let stretch = UnsafeBufferPointer(rebasing: text[range])
            if normalizedMatcher.isEmpty { return encodePlain(stretch, workspace) }
            normalizedMatcher.split(stretch, recogniseSpecial: recogniseSpecial) { inner, id in
                if let id { workspace.append(id) } else { encodePlain(UnsafeBufferPointer(rebasing: stretch[inner]), workspace) }
            }
        }
    }

    private func encodePlain(_ text: UnsafeBufferPointer<UInt8>, _ workspace: EncodingWorkspace) {
        guard options.addPrefixSpace, text.first != UInt8(ascii: " ") else { return workspace.encode(text, with: tables) }
        let prefixed = [UInt8(ascii: " ")] + text
        prefixed.withUnsafeBufferPointer { workspace.encode($0, with: tables) }
    }
}
