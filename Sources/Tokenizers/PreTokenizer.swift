/// Cuts text into the pieces within which byte-level BPE merges, exactly as GPT-2's regular expression does:
///
///     's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
///
/// The first alternative that matches wins; \p{L}, \p{N} and \s are the fixed tables of ``UnicodeRanges``. Works on UTF-8 bytes;
/// a byte that is not well-formed UTF-8 counts as one character that is neither space, letter nor number, so any bytes come back whole.
/// Linear in the text; nothing is allocated.
///
/// Source: Radford et al. 2019, `encoder.py`; measured against `tokenizers` 0.23.3.
struct PreTokenizer {
    private let classes = CharacterClasses.shared

    /// The end of the piece that starts at `start`.
    /// - Parameters:
    ///   - start: below `end`, at the start of a character.
    ///   - end: the length of the text; nothing at or after it is read.
    @inline(__always)
    func pieceEnd(_ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
        let first = text[start]
        if first == UInt8(ascii: "'"), let stop = contractionEnd(text, start, end) { return stop }
        var index = start
        if first == UInt8(ascii: " ") {
            index += 1
            if index == end { return end }
        }
        let (kind, length) = classes.character(text, index, end)
        if kind == CharacterClass.space { return spaceEnd(text, start, end) }
        index += length
        return runEnd(of: kind, text, index, end)
    }

    @inline(__always)
    private func runEnd(of kind: UInt8, _ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
        var index = start
        while index < end {
            let (next, length) = classes.character(text, index, end)
            if next != kind { break }
            index += length
        }
        return index
    }

    /// `\s+(?!\S)|\s+`: a run that something follows gives back its last character, unless it is the only one.
    private func spaceEnd(_ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int {
        var index = start
        var last = start
        while index < end {
            let (kind, length) = classes.character(text, index, end)
            if kind != CharacterClass.space { return last > start ? last : index }
            last = index
            index += length
        }
        return end
    }

    private func contractionEnd(_ text: UnsafePointer<UInt8>, _ start: Int, _ end: Int) -> Int? {
        guard start + 1 < end else { return nil }
        switch text[start + 1] {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return start + 2
        case UInt8(ascii: "r"), UInt8(ascii: "v"): return start + 2 < end && text[start + 2] == UInt8(ascii: "e") ? start + 3 : nil
        case UInt8(ascii: "l"): return start + 2 < end && text[start + 2] == UInt8(ascii: "l") ? start + 3 : nil
        default: return nil
        }
    }
}
