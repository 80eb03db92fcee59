import Glibc

/// Finds added tokens in text: leftmost first, the longest where several start at one place.
///
/// Texts hold few of them, so the search is one pass over first bytes (`memchr` where there is only one), with comparisons only there.
struct AddedTokenMatcher: Sendable {
    private struct Candidate {
        let bytes: [UInt8]
        let token: AddedToken
    }

    /// For each first byte, the tokens starting with it, longest first.
    private var candidates: [[Candidate]] = Array(repeating: [], count: 256)
    private var onlyFirstByte: UInt8?
    /// Whether there is nothing to find.
    let isEmpty: Bool

    init(_ tokens: [AddedToken]) {
        isEmpty = tokens.isEmpty
        for token in tokens {
            let bytes = Array(token.content.utf8)
            candidates[Int(bytes[0])].append(Candidate(bytes: bytes, token: token))
        }
        for byte in 0..<256 { candidates[byte].sort { $0.bytes.count > $1.bytes.count } }
        let used = (0..<256).filter { !candidates[$0].isEmpty }
        if used.count == 1 { onlyFirstByte = UInt8(used[0]) }
    }

    /// Cuts `text` into stretches of plain text and added tokens, in order.
    /// - Parameters:
    ///   - recogniseSpecial: false leaves special tokens in the text as plain text.
    ///   - emit: receives each stretch, with the token's id, or nil for plain text. Plain stretches are never empty.
    func split(
        _ text: UnsafeBufferPointer<UInt8>, recogniseSpecial: Bool, emit: (_ range: Range<Int>, _ id: Int32?) -> Void
    ) {
        var position = 0
        var emitted = 0
        while let (start, candidate) = next(in: text, from: position) {
            let end = start + candidate.bytes.count
            position = end
            let token = candidate.token
            if token.isSpecial && !recogniseSpecial { continue }
            if token.isSingleWord && (endsWithWord(text, start) || startsWithWord(text, end)) { continue }
            let from = token.stripsLeft ? max(spaceStart(text, before: start), emitted) : start
            let to = token.stripsRight ? spaceEnd(text, after: end) : end
            if emitted < from { emit(emitted..<from, nil) }
            emit(from..<to, token.id)
            emitted = to
        }
        if emitted < text.count { emit(emitted..<text.count, nil) }
    }

    private func next(in text: UnsafeBufferPointer<UInt8>, from: Int) -> (Int, Candidate)? {
        guard let base = text.baseAddress else { return nil }
        var index = from
        while index < text.count {
            if let onlyFirstByte {
                guard let found = memchr(base + index, Int32(onlyFirstByte), text.count - index) else { return nil }
                index = UnsafeRawPointer(found) - UnsafeRawPointer(base)
            }
            for candidate in candidates[Int(base[index])]
            where candidate.bytes.count <= text.count - index && memcmp(base + index, candidate.bytes, candidate.bytes.count) == 0 {
                return (index, candidate)
            }
            index += 1
        }
        return nil
    }

    /// The code point that ends before `end`, and where it starts.
    private func character(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> (code: UInt32?, start: Int) {
        guard let base = text.baseAddress else { return (nil, 0) }
        var start = end - 1
        while start > 0 && end - start < 4 && text[start] & 0xC0 == 0x80 { start -= 1 }
        let (code, length) = UTF8Scanner.decode(base + start, end - start)
        return start + length == end ? (code, start) : (nil, end - 1)
    }

    private func endsWithWord(_ text: UnsafeBufferPointer<UInt8>, _ end: Int) -> Bool {
        guard end > 0, let code = character(text, before: end).code else { return false }
        return CharacterClasses.shared.entry(code) & CharacterClass.wordBit != 0
    }

    private func startsWithWord(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Bool {
        guard start < text.count, let base = text.baseAddress else { return false }
        guard let code = UTF8Scanner.decode(base + start, text.count - start).code else { return false }
        return CharacterClasses.shared.entry(code) & CharacterClass.wordBit != 0
    }

    private func spaceStart(_ text: UnsafeBufferPointer<UInt8>, before end: Int) -> Int {
        var index = end
        while index > 0 {
            let (code, start) = character(text, before: index)
            guard let code, CharacterClasses.shared.entry(code) & CharacterClass.mask == CharacterClass.space else { break }
            index = start
        }
        return index
    }

    private func spaceEnd(_ text: UnsafeBufferPointer<UInt8>, after start: Int) -> Int {
        guard let base = text.baseAddress else { return start }
        var index = start
        while index < text.count {
            let (kind, length) = CharacterClasses.shared.character(base, index, text.count)
            if kind != CharacterClass.space { break }
            index += length
        }
        return index
    }
}
