import Glibc

/// What the pre-tokenizer needs to know about a code point: letter, number, space, or anything else.
enum CharacterClass {
    static let other: UInt8 = 0
    static let letter: UInt8 = 1
    static let number: UInt8 = 2
    static let space: UInt8 = 3
    /// Set beside the class where the code point is a word character in the sense of `single_word`.
    static let wordBit: UInt8 = 4
    /// The class without ``wordBit``.
    static let mask: UInt8 = 3
}

/// Looks up the class of a code point in two steps: its page of 256, then its place in the page.
///
/// About 60 KB in all, so it stays in a processor's cache; equal pages are stored once.
/// `@unchecked Sendable`: the memory is written in `init` only and never freed, since the one instance lives as long as the process.
struct CharacterClasses: @unchecked Sendable {
    /// The one instance. Hot loops copy it into a local first, so as not to pay for the lazy initialisation again.
    static let shared = CharacterClasses()

    /// Classes of the 256 possible first bytes: ASCII's own, and `multibyte` for 0x80 … 0xFF.
    let bytes: UnsafePointer<UInt8>
    private let pageOf: UnsafePointer<UInt16>
    private let pages: UnsafePointer<UInt8>

    /// Marks a byte that needs decoding in ``bytes``.
    static let multibyte: UInt8 = 0x80

    private init() {
        var flat = [UInt8](repeating: CharacterClass.other, count: 0x110000)
        func mark(_ ranges: [UInt32], _ set: (inout UInt8) -> Void) {
            for pair in stride(from: 0, to: ranges.count, by: 2) {
                for code in Int(ranges[pair])...Int(ranges[pair + 1]) { set(&flat[code]) }
            }
        }
        mark(UnicodeRanges.letters) { $0 = CharacterClass.letter }
        mark(UnicodeRanges.numbers) { $0 = CharacterClass.number }
        mark(UnicodeRanges.spaces) { $0 = CharacterClass.space }
        mark(UnicodeRanges.word) { $0 |= CharacterClass.wordBit }

        let pageTable = UnsafeMutablePointer<UInt16>.allocate(capacity: 0x1100)
        var unique: [[UInt8]: UInt16] = [:]
        var stored: [UInt8] = []
        for page in 0..<0x1100 {
            let content = Array(flat[page * 256..<(page + 1) * 256])
            if let known = unique[content] {
                pageTable[page] = known
            } else {
                let index = UInt16(unique.count)
                unique[content] = index
                pageTable[page] = index
                stored += content
            }
        }
        let pageBytes = UnsafeMutablePointer<UInt8>.allocate(capacity: stored.count)
        pageBytes.initialize(from: stored, count: stored.count)
        let byteTable = UnsafeMutablePointer<UInt8>.allocate(capacity: 256)
        for byte in 0..<256 { byteTable[byte] = byte < 0x80 ? flat[byte] & CharacterClass.mask : Self.multibyte }
        bytes = UnsafePointer(byteTable)
        pageOf = UnsafePointer(pageTable)
        pages = UnsafePointer(pageBytes)
    }

    /// The class of a code point, with ``CharacterClass/wordBit``.
    @inline(__always)
    func entry(_ code: UInt32) -> UInt8 {
        pages[Int(pageOf[Int(code >> 8)]) << 8 | Int(code & 0xFF)]
    }

    /// The class and length in bytes of the character at `index` of well-formed or broken UTF-8.
    /// A byte that starts no well-formed sequence is one character of class `other`.
    @inline(__always)
    func character(_ text: UnsafePointer<UInt8>, _ index: Int, _ end: Int) -> (kind: UInt8, length: Int) {
        let kind = bytes[Int(text[index])]
        if kind != Self.multibyte { return (kind, 1) }
        return longCharacter(text, index, end)
    }

    @inline(never)
    private func longCharacter(_ text: UnsafePointer<UInt8>, _ index: Int, _ end: Int) -> (kind: UInt8, length: Int) {
        let (code, length) = UTF8Scanner.decode(text + index, end - index)
        guard let code else { return (CharacterClass.other, 1) }
        return (entry(code) & CharacterClass.mask, length)
    }
}
