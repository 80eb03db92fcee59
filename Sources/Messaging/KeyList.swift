/// A list of public keys that are let in, as an operator writes it.
///
///     # workers of the first rack
///     rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7  worker-1
///     Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID  # no name
///
/// One key a line, then an optional name; what stands behind a `#` that begins a word is a comment. (A `#` inside a key is part of it, and no
/// key begins with one.) An empty list lets nobody in.
package struct KeyList: Sendable, Equatable {
    /// The keys and their names; an empty name where none is given.
    package private(set) var names: [CurvePublicKey: String] = [:]

    package init() {}

    /// A list without names.
    package init(_ keys: some Sequence<CurvePublicKey>) { for key in keys { names[key] = "" } }

    package var keys: Set<CurvePublicKey> { Set(names.keys) }

    /// Where a text is no list.
    package struct Fault: Error, Equatable {
        /// Counted from 1.
        package let line: Int
        package let reason: String
    }

    /// Reads a list.
    /// - Throws: ``Fault`` for the first line whose first word is no key.
    package init(parsing bytes: [UInt8]) throws(Fault) {
        let mark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let text = bytes.starts(with: mark) ? bytes[3...] : bytes[...]
        var number = 0
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            let words = line.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
                .prefix { $0.first != UInt8(ascii: "#") }
            guard let first = words.first else { continue }
            guard let key = CurvePublicKey(String(decoding: first, as: UTF8.self)) else {
                throw Fault(line: number, reason: "a public key has 40 characters of Z85; this word has \(first.count) bytes or another alphabet")
            }
            names[key] = words.dropFirst().map { String(decoding: $0, as: UTF8.self) }.joined(separator: " ")
        }
    }
}
