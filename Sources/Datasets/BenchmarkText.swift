/// Made-up prose for measuring tokenizers where no text is given: the same bytes everywhere.
///
/// Words are syllables in a row; the shorter one is, the oftener it comes, as in any language: ranks of each octave are equally frequent. There are sentences,
/// commas, numbers and lines, so that every rule of the pre-tokenizer has work.
package struct BenchmarkText {
    private static let octaves = 14
    private static let onsets = ["b", "br", "c", "d", "f", "g", "h", "l", "m", "n", "p", "pr", "r", "s", "st", "t", "th", "v", "w", ""]
    private static let rests = ["a", "an", "ar", "e", "en", "er", "es", "i", "in", "is", "o", "on", "or", "u", "y", "ea"]

    private var state: UInt64
    private var words: [[UInt8]] = []

    /// - Parameter seed: another seed, another language.
    package init(seed: UInt64 = 1) {
        state = seed
        for rank in 1..<1 << Self.octaves {
            let syllables = 1 + (Int.bitWidth - rank.leadingZeroBitCount) / 5
            words.append((0..<syllables).flatMap { _ in Array((pick(Self.onsets) + pick(Self.rests)).utf8) })
        }
    }

    /// About so many bytes, at most a sentence more, of whole lines.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(count + 1024)
        while text.count < count {
            for _ in 0..<1 + below(6) { sentence(into: &text) }
            text.append(UInt8(ascii: "\n"))
        }
        return text
    }

    private mutating func sentence(into text: inout [UInt8]) {
        let length = 3 + below(20)
        for place in 0..<length {
            if place > 0 || (text.last ?? UInt8(ascii: "\n")) != UInt8(ascii: "\n") { text.append(UInt8(ascii: " ")) }
            if below(40) == 0 {
                text += Array("\(below(2100))".utf8)
            } else {
                var word = words[rank() - 1]
                if place == 0, let first = word.first { word[0] = first & 0xDF }
                text += word
            }
            if place < length - 1, below(12) == 0 { text.append(UInt8(ascii: ",")) }
        }
        text.append(below(9) == 0 ? UInt8(ascii: "?") : UInt8(ascii: "."))
    }

    /// 1 ..< 2^octaves, each octave equally likely.
    private mutating func rank() -> Int {
        let octave = below(Self.octaves)
        return 1 << octave + below(1 << octave)
    }

    private mutating func pick(_ values: [String]) -> String { values[below(values.count)] }

    /// SplitMix64; the bias of so small bounds is no matter here.
    private mutating func below(_ bound: Int) -> Int {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ word >> 30) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ word >> 27) &* 0x94D0_49BB_1331_11EB
        return Int((word ^ word >> 31) >> 11) % bound
    }
}
