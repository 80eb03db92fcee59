import Encodings

/// A hub of models as Hugging Face's is one: an API that lists a model's files, and an address for each.
///
/// ```swift
/// let hub = ModelHub(base: try WebAddress("https://huggingface.co"), downloader: Downloader(token: nil))
/// let model = try hub.model("gpt2", revision: "main")
/// try hub.fetch(model, into: "folder")
/// ```
/// Source: https://huggingface.co/docs/hub/api.
package struct ModelHub: Sendable {
    private let base: WebAddress
    private let downloader: Downloader

    package init(base: WebAddress, downloader: Downloader) {
        self.base = base
        self.downloader = downloader
    }

    /// One state of a model.
    package struct Model: Sendable, Equatable {
        /// `gpt2` or `owner/name`.
        package let name: String
        /// The commit that stands for the asked revision: all files come from it, whatever happens meanwhile.
        package let commit: String
        /// The names at its top.
        package let files: [String]
    }

    /// One file that was fetched.
    package struct FetchedFile: Sendable, Equatable {
        package let name: String
        package let remote: RemoteFile
    }

    private static let maximumListBytes = 32 << 20
    private static let maximumIndexBytes = 64 << 20

    /// Finds a model.
    /// - Throws: `.notFound`, or `.badAddress` for names and revisions that cannot be any.
    package func model(_ name: String, revision: String) throws(DownloadError) -> Model {
        let parts = name.split(separator: "/", omittingEmptySubsequences: false)
        guard (1...2).contains(parts.count), parts.allSatisfy({ Self.isName($0) }) else {
            throw .badAddress(String(name.prefix(200)), reason: "is no model's name: NAME or OWNER/NAME, of letters, digits, '.', '_' and '-'")
        }
        guard (1...200).contains(revision.utf8.count),
            revision.split(separator: "/", omittingEmptySubsequences: false).allSatisfy({ Self.isName($0) })
        else { throw .badAddress(String(revision.prefix(200)), reason: "is no branch, tag or commit") }
        let escaped = revision.split(separator: "/").joined(separator: "%2F")
        let address = try base.appending("api/models/\(name)/revision/\(escaped)")
        let answer = try object(try downloader.bytes(address, limit: Self.maximumListBytes), address)
        guard let commit = answer["sha"]?.stringValue, Self.isName(commit[...]), let siblings = answer["siblings"]?.arrayValue else {
            throw .malformed(address.text, reason: "its answer names no commit and files: is it a hub of models?")
        }
        // What lies in folders is of other formats and never fetched; nor is a name that is no plain one.
        let files = siblings.compactMap { $0["rfilename"]?.stringValue }.filter { Self.isName($0[...]) }
        return Model(name: name, commit: commit, files: files)
    }

    /// Fetches what Scriptorium needs of a model into an existing folder.
    /// - Parameter progress: is told of the file in hand how many bytes are there, of how many.
    package func fetch(
        _ model: Model, into folder: String, progress: @escaping (_ file: String, _ done: Int, _ total: Int) -> Void = { _, _, _ in }
    ) throws(DownloadError) -> [FetchedFile] {
        guard model.files.contains("config.json") else {
            throw .malformed(base.text, reason: "\(model.name) has no config.json: only models for transformers can be pulled")
        }
        var names = Self.companions.filter(model.files.contains)
        names += try weights(of: model)
        var fetched: [FetchedFile] = []
        for name in names {
            let remote = try downloader.fetch(address(model, name), to: folder + "/" + name) { progress(name, $0, $1) }
            fetched.append(FetchedFile(name: name, remote: remote))
        }
        return fetched
    }

    // MARK: Which files

    private static let companions = [
        "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
        "vocab.json", "merges.txt",
    ]

    /// The weights: safetensors before PyTorch's, one file before shards.
    private func weights(of model: Model) throws(DownloadError) -> [String] {
        for single in ["model.safetensors", "pytorch_model.bin"] {
            if model.files.contains(single) { return [single] }
            let index = single + ".index.json"
            if model.files.contains(index) { return try [index] + shards(model, index) }
        }
        throw .malformed(base.text, reason: "\(model.name) has neither model.safetensors nor pytorch_model.bin")
    }

    /// The files that an index names, each of which the model must have.
    private func shards(_ model: Model, _ index: String) throws(DownloadError) -> [String] {
        let address = try address(model, index)
        let answer = try object(try downloader.bytes(address, limit: Self.maximumIndexBytes), address)
        guard let map = answer["weight_map"]?.objectValue else { throw .malformed(address.text, reason: "has no object weight_map") }
        var names: Set<String> = []
        for (_, value) in map {
            guard let name = value.stringValue, model.files.contains(name) else {
                throw .malformed(address.text, reason: "names a file that the model does not have")
            }
            names.insert(name)
        }
        return names.sorted()
    }

    private func address(_ model: Model, _ file: String) throws(DownloadError) -> WebAddress {
        try base.appending("\(model.name)/resolve/\(model.commit)/\(file)")
    }

    private func object(_ bytes: [UInt8], _ address: WebAddress) throws(DownloadError) -> JSONObject {
        do throws(DocumentError) {
            if let object = try JSONValue.parse(bytes).objectValue { return object }
        } catch { throw .malformed(address.text, reason: "its answer is no JSON: \(error)") }
        throw .malformed(address.text, reason: "its answer is no JSON object")
    }

    /// A part of a path that is nothing but a name.
    private static func isName(_ text: Substring) -> Bool {
        !text.isEmpty && text != "." && text != ".." && text.utf8.count <= 200
            && text.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")].contains(byte)
            }
    }
}
