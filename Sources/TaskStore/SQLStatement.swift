/// One statement of a file, as far as the migrator must understand it: where it ends, and which index it makes.
struct SQLStatement: Sendable, Equatable {
    /// Its text, without the semicolon.
    let sql: String
    /// Its words in their order, without what stands in strings, comments and dollar quotes, numbers and signs left out.
    let words: [Word]

    /// A key word or name.
    struct Word: Sendable, Equatable {
        /// In lower case, as PostgreSQL folds it, where it is not quoted.
        let text: String
        let isQuoted: Bool
    }

    /// The statements of a text; what has no words, as a comment at its end, is none.
    ///
    /// A semicolon ends a statement unless it stands in a string, a quoted name, a comment or a dollar quote. The one thing that is not understood is a
    /// body written `BEGIN ATOMIC … END`; the server refuses its parts.
    /// Source: PostgreSQL 15, section 4.1 (Lexical Structure).
    static func split(_ sql: String) -> [SQLStatement] {
        var scanner = SQLScanner(sql)
        var statements: [SQLStatement] = []
        while let statement = scanner.next() { if !statement.words.isEmpty { statements.append(statement) } }
        return statements
    }

    private func begins(_ phrase: String) -> Bool { begins(phrase, at: 0) }

    private func begins(_ phrase: String, at start: Int) -> Bool {
        let parts = phrase.split(separator: " ")
        guard start + parts.count <= words.count else { return false }
        return parts.indices.allSatisfy { !words[start + $0].isQuoted && words[start + $0].text == parts[$0] }
    }

    /// Whether it builds or drops an index beside readers and writers: it waits for their transactions, and nobody waits for it.
    var isConcurrent: Bool {
        ["create index concurrently", "create unique index concurrently", "drop index concurrently"].contains { begins($0) }
    }

    /// Whether it can be run again after it was done. An index must say so; all else is its author's to see to.
    var isRepeatable: Bool {
        if ["begin", "start transaction", "commit", "end", "rollback"].contains(where: { begins($0) }) { return false }
        if let place = afterCreate { return begins("if not exists", at: place) }
        return !begins("drop index concurrently") || begins("if exists", at: 3)
    }

    /// Where the words go on after `CREATE [UNIQUE] INDEX CONCURRENTLY`.
    private var afterCreate: Int? {
        if begins("create index concurrently") { return 3 }
        return begins("create unique index concurrently") ? 4 : nil
    }

    /// The name of the index that it makes concurrently; an interrupted build leaves it there, invalid.
    var concurrentIndex: String? {
        guard let place = afterCreate, begins("if not exists", at: place), place + 3 < words.count else { return nil }
        return words[place + 3].text
    }
}

/// Goes through a text statement by statement.
private struct SQLScanner {
    private let bytes: [UInt8]
    private var place = 0
    private var words: [SQLStatement.Word] = []

    init(_ sql: String) { bytes = Array(sql.utf8) }

    /// The statement up to the next semicolon, or nil at the end.
    mutating func next() -> SQLStatement? {
        guard place < bytes.count else { return nil }
        let start = place
        words = []
        while place < bytes.count, bytes[place] != UInt8(ascii: ";") { skip() }
        let text = String(decoding: bytes[start..<place], as: UTF8.self)
        place += 1
        return SQLStatement(sql: text, words: words)
    }

    /// Goes past one word, string, comment or sign.
    private mutating func skip() {
        switch bytes[place] {
        case UInt8(ascii: "-") where isAhead("--"): while place < bytes.count, bytes[place] != UInt8(ascii: "\n") { place += 1 }
        case UInt8(ascii: "/") where isAhead("/*"): skipComment()
        case UInt8(ascii: "'"): skipQuoted(UInt8(ascii: "'"), hasEscapes: false)
        case UInt8(ascii: "\""):
            let start = place + 1
            skipQuoted(UInt8(ascii: "\""), hasEscapes: false)
            let name = String(decoding: bytes[min(start, place)..<max(start, place - 1)], as: UTF8.self)
            let undoubled = name.split(separator: "\"\"", omittingEmptySubsequences: false).joined(separator: "\"")
            words.append(SQLStatement.Word(text: undoubled, isQuoted: true))
        case UInt8(ascii: "$"): skipDollarQuote()
        case let byte where Self.beginsWord(byte): skipWord()
        // A digit begins no word, but `1e` is none either.
        case let byte where Self.isDigit(byte): while place < bytes.count, Self.continuesWord(bytes[place]) { place += 1 }
        default: place += 1
        }
    }

    private func isAhead(_ text: StaticString) -> Bool {
        text.withUTF8Buffer { bytes[place...].starts(with: $0) }
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    private static func beginsWord(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(lower) || byte == UInt8(ascii: "_") || byte >= 0x80
    }
    private static func continuesWord(_ byte: UInt8) -> Bool { beginsWord(byte) || isDigit(byte) || byte == UInt8(ascii: "$") }

    private mutating func skipWord() {
        let start = place
        while place < bytes.count, Self.continuesWord(bytes[place]) { place += 1 }
        // E'…' knows escapes, other strings do not.
        if place - start == 1, bytes[start] | 0x20 == UInt8(ascii: "e"), place < bytes.count, bytes[place] == UInt8(ascii: "'") {
            return skipQuoted(UInt8(ascii: "'"), hasEscapes: true)
        }
        let folded = bytes[start..<place].map { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) ? $0 | 0x20 : $0 }
        words.append(SQLStatement.Word(text: String(decoding: folded, as: UTF8.self), isQuoted: false))
    }

    /// A doubled quote stands for itself.
    private mutating func skipQuoted(_ quote: UInt8, hasEscapes: Bool) {
        place += 1
        while place < bytes.count {
            if hasEscapes, bytes[place] == UInt8(ascii: "\\") {
                place += 2
            } else if bytes[place] != quote {
                place += 1
            } else if place + 1 < bytes.count, bytes[place + 1] == quote {
                place += 2
            } else {
                break
            }
        }
        place = min(place + 1, bytes.count)
    }

    /// Comments nest.
    private mutating func skipComment() {
        var depth = 0
        repeat {
            if isAhead("/*") {
                depth += 1
                place += 2
            } else if isAhead("*/") {
                depth -= 1
                place += 2
            } else {
                place += 1
            }
        } while depth > 0 && place < bytes.count
        place = min(place, bytes.count)
    }

    /// `$$…$$` or `$tag$…$tag$`; a lone `$`, as of `$1`, is a sign.
    private mutating func skipDollarQuote() {
        var end = place + 1
        if end < bytes.count, Self.beginsWord(bytes[end]) {
            while end < bytes.count, Self.continuesWord(bytes[end]), bytes[end] != UInt8(ascii: "$") { end += 1 }
        }
        guard end < bytes.count, bytes[end] == UInt8(ascii: "$") else {
            place += 1
            return
        }
        let tag = bytes[place...end]
        place = end + 1
        while place < bytes.count, !bytes[place...].starts(with: tag) { place += 1 }
        place = min(place + tag.count, bytes.count)
    }
}
