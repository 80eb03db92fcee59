/// Collects vocabulary, merges and added tokens from a file or the trainer, checks that they fit together, and makes the tokenizer.
///
/// Order: options, vocabulary, merges, added tokens.
struct TokenizerBuilder {
    /// Ids at or above this are taken for an error in the file: tables are as long as the largest id.
    static let maximumID = 1 << 22

    /// A merge by the ids of its parts and its result.
    struct Merge: Sendable, Hashable {
        var left: Int32
        var right: Int32
        var merged: Int32
    }

    let file: String
    var options = TokenizerOptions()
    private(set) var vocabulary: ByteStringTable
    private(set) var ids: [Int32] = []
    private(set) var merges: [Merge] = []
    private(set) var added: [AddedToken] = []
    private var usedIDs: Set<Int32> = []
    private var addedSpellings: Set<[UInt8]> = []

    init(file: String, capacity: Int = 0) {
        self.file = file
        vocabulary = ByteStringTable(minimumCapacity: capacity)
    }

    func malformed(_ problem: String) -> TokenizerError { .malformed(file: file, problem: problem) }

    /// Adds a vocabulary entry.
    mutating func addToken(_ spelling: [UInt8], id: Int64?) throws(TokenizerError) {
        guard let id, id >= 0, id < Self.maximumID else {
            throw malformed("the id of token \(quoted(spelling)) is not a number from 0 to \(Self.maximumID - 1)")
        }
        guard usedIDs.insert(Int32(id)).inserted else { throw malformed("id \(id) stands for two tokens, one of them \(quoted(spelling))") }
        guard vocabulary.insert(spelling).isNew else { throw malformed("token \(quoted(spelling)) stands in the vocabulary twice") }
        ids.append(Int32(id))
    }

    /// Adds the next merge in rank. The result's name is the left part, then the right one without the continuing prefix.
    mutating func addMerge(_ left: [UInt8], _ right: [UInt8]) throws(TokenizerError) {
        let place = "merge \(merges.count + 1)"
        guard let leftIndex = vocabulary.index(of: left) else { throw malformed("\(place): \(quoted(left)) is not in the vocabulary") }
        guard let rightIndex = vocabulary.index(of: right) else { throw malformed("\(place): \(quoted(right)) is not in the vocabulary") }
        let prefix = options.continuingSubwordPrefix.utf8.count
        guard right.count >= prefix else { throw malformed("\(place): \(quoted(right)) is shorter than the continuing prefix") }
        guard let mergedIndex = vocabulary.index(of: left + right.dropFirst(prefix)) else {
            throw malformed("\(place): its result \(quoted(left + right.dropFirst(prefix))) is not in the vocabulary")
        }
        merges.append(Merge(left: ids[leftIndex], right: ids[rightIndex], merged: ids[mergedIndex]))
    }

    /// Whether a token of this spelling is cut out of texts already.
    func isAdded(_ content: String) -> Bool { addedSpellings.contains(Array(content.utf8)) }

    /// Adds a token that is cut out of texts. One that is in the vocabulary keeps its id.
    mutating func addAdded(_ token: AddedToken) throws(TokenizerError) {
        let spelling = Array(token.content.utf8)
        guard !spelling.isEmpty else { throw malformed("added token \(token.id) is empty") }
        guard token.id >= 0, token.id < Self.maximumID else {
            throw malformed("the id of added token \(quoted(spelling)) is not a number from 0 to \(Self.maximumID - 1)")
        }
        if let index = vocabulary.index(of: spelling) {
            guard ids[index] == token.id else {
                throw malformed("added token \(quoted(spelling)) has id \(token.id), but \(ids[index]) in the vocabulary")
            }
        } else if !usedIDs.insert(token.id).inserted {
            throw malformed("id \(token.id) of added token \(quoted(spelling)) stands for another token too")
        }
        guard addedSpellings.insert(spelling).inserted else {
            throw malformed("added token \(quoted(spelling)) is listed twice")
        }
        added.append(token)
    }

    /// The tokenizer, if all fits together.
    consuming func build() throws(TokenizerError) -> Tokenizer {
        if let unknown = options.unknownToken, vocabulary.index(of: unknown) == nil {
            throw malformed("unk_token \(quoted(Array(unknown.utf8))) is not in the vocabulary")
        }
        guard !usedIDs.isEmpty else { throw malformed("the vocabulary is empty") }
        dropRepeatedMerges()
        return Tokenizer(self)
    }

    /// Of a pair that merges twice the later rank counts, as in `tokenizers`; the earlier is dropped.
    private mutating func dropRepeatedMerges() {
        guard Set(merges).count < merges.count else { return }
        var seen: Set<Merge> = []
        merges = merges.reversed().filter { seen.insert($0).inserted }.reversed()
    }

    /// A token as an error message shows it: shortened, lossy.
    func quoted(_ spelling: [UInt8]) -> String {
        let text = String(decoding: spelling.prefix(60), as: UTF8.self)
        return spelling.count > 60 ? "\"\(text)…\"" : "\"\(text)\""
    }
}
