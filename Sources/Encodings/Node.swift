import Glibc

/// One value within a ``Document``: a view, cheap to pass on, that keeps its document alive.
package struct Node: Sendable {
    /// What a value is. `binary` occurs in MessagePack only.
    package enum Kind: UInt8, Sendable { case null, bool, integer, real, string, binary, array, map }

    let document: Document
    let index: Int

    private var slot: Slot { document.slots[index] }

    /// What the value is.
    package var kind: Kind { slot.kind }

    /// Whether the value is null, which means absent.
    package var isNull: Bool { slot.kind == .null }

    /// Elements of an array, members of a map, bytes of a string.
    package var count: Int { Int(slot.count) }

    /// The truth value, of true and false.
    package var boolValue: Bool? { slot.kind == .bool ? slot.bits != 0 : nil }

    /// The number, of an integer or a real without fraction that 64 bits hold exactly (JSON does not tell 2 from 2.0).
    package var integerValue: Int64? {
        let slot = slot
        switch slot.kind {
        case .integer: return Int64(bitPattern: slot.bits)
        case .real: return Int64(exactly: Double(bitPattern: slot.bits))
        default: return nil
        }
    }

    /// The number, of an integer or a real.
    package var doubleValue: Double? {
        let slot = slot
        switch slot.kind {
        case .integer: return Double(Int64(bitPattern: slot.bits))
        case .real: return Double(bitPattern: slot.bits)
        default: return nil
        }
    }

    /// The text, of a string.
    package var stringValue: String? {
        guard slot.kind == .string else { return nil }
        return withUTF8 { String(decoding: $0, as: UTF8.self) }
    }

    /// The bytes, of a binary value.
    package var binaryValue: [UInt8]? {
        guard slot.kind == .binary else { return nil }
        return withUTF8 { Array($0) }
    }

    /// The bytes of a string or binary value in place; empty for others.
    package func withUTF8<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        let slot = slot
        guard slot.kind == .string || slot.kind == .binary else { return body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        return document.text.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[Int(slot.bits)..<Int(slot.bits) + Int(slot.count)])) }
    }

    /// Calls for each element of an array, in order; not at all for others.
    package func forEachElement<Failure>(_ body: (Node) throws(Failure) -> Void) throws(Failure) {
        let slot = slot
        guard slot.kind == .array else { return }
        var place = index + 1
        for _ in 0..<slot.count {
            try body(Node(document: document, index: place))
            place = Int(document.slots[place].end)
        }
    }

    /// Calls for each member of a map, in the order of the text, with its name and its value; not at all for others.
    package func forEachMember<Failure>(_ body: (_ name: Node, _ value: Node) throws(Failure) -> Void) throws(Failure) {
        let slot = slot
        guard slot.kind == .map else { return }
        var place = index + 1
        for _ in 0..<slot.count {
            try body(Node(document: document, index: place), Node(document: document, index: place + 1))
            place = Int(document.slots[place + 1].end)
        }
    }

    /// A map's member of this name; nil where there is none, where it is null, or where this is no map.
    package subscript(name: String) -> Node? {
        var found: Node?
        forEachMember { key, value in
            if found == nil && key.equals(name) && !value.isNull { found = value }
        }
        return found
    }

    /// Whether this is the given string, without making one.
    package func equals(_ text: String) -> Bool {
        guard kind == .string, count == text.utf8.count else { return false }
        var text = text
        return text.withUTF8 { wanted in
            guard let first = wanted.baseAddress else { return true }
            return withUTF8 { found in found.baseAddress.map { memcmp($0, first, wanted.count) == 0 } ?? wanted.isEmpty }
        }
    }
}
