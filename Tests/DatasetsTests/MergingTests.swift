import Datasets
import TestSupport
import Testing
import Tokenizers

@Suite("Merging datasets")
struct MergingTests {
    private let short = TokenDataset(tokens: (0..<40).map { Int32($0) }, vocabularySize: 2000)
    private let long = TokenDataset(tokens: (0..<1000).map { Int32(1000 + $0) }, vocabularySize: 2000)

    private func tokens(_ dataset: TokenDataset) -> [Int32] { (0..<dataset.count).map { dataset[$0] } }

    @Test("datasets stand one after the other, whole")
    func joined() throws {
        let merged = try TokenDataset.merged([short, long, short], equalize: false, seed: 1)
        #expect(tokens(merged) == tokens(short) + tokens(long) + tokens(short))
        #expect(merged.vocabularySize == 2000 && merged.largestToken == 1999)
        #expect(try TokenDataset.merged([long], equalize: true, seed: 5).digest == long.digest)
    }

    @Test("equalized, each gives as many as the smallest has, without gaps, from where the seed says")
    func equalized() throws {
        var starts = Set<Int32>()
        for seed in 0..<200 as Range<UInt64> {
            let merged = tokens(try TokenDataset.merged([long, short], equalize: true, seed: seed))
            try #require(merged.count == 80)
            #expect(Array(merged[40...]) == tokens(short))
            let start = merged[0]
            #expect(Array(merged[..<40]) == (0..<40).map { start + $0 } && (1000...1960).contains(start))
            starts.insert(start)
            #expect(tokens(try TokenDataset.merged([long, short], equalize: true, seed: seed)) == merged)
        }
        #expect(starts.count > 150 && (starts.min() ?? 0) < 1050 && (starts.max() ?? 0) > 1910)
    }

    @Test("two long datasets of equal length do not begin at the same place by rule")
    func independent() throws {
        let other = TokenDataset(tokens: (0..<1000).map { Int32($0) }, vocabularySize: 2000)
        let merged = tokens(try TokenDataset.merged([long, other, short], equalize: true, seed: 3))
        #expect(merged[0] - 1000 != merged[40])
    }

    @Test("the choice of the seed is frozen")
    func golden() throws {
        #expect(try TokenDataset.merged([long, short], equalize: true, seed: 12_345_678)[0] == 1187)
    }

    @Test("datasets of different tokenizers are refused")
    func otherTokenizer() throws {
        func trained(_ text: String) throws -> TokenDataset {
            var trainer = TokenizerTrainer(vocabularySize: 260, minimumFrequency: 2)
            trainer.feed(text: text)
            return try TokenDataset.encode(texts: [text], tokenizer: trainer.train { _, _ in })
        }
        let (one, other) = (try trained("a rose is a rose is a rose"), try trained("tick tock tick tock tick"))
        #expect(throws: DatasetError.self) { try TokenDataset.merged([one, other], equalize: false, seed: 1) }
        #expect(try TokenDataset.merged([one, one], equalize: false, seed: 1).count == 2 * one.count)
    }
}
