/// One JSON or MessagePack value, parsed and checked, as a flat list of slots that ``Node`` views walk.
///
/// The C libraries parse; then one pass checks what the contract asks beyond the grammar (depth, a name twice, numbers that are not finite,
/// U+0000, UTF-8) and copies the tree into two arrays, so that nothing here owns a C pointer and both encodings look alike.
package final class Document: Sendable {
    let slots: [Slot]
    let text: [UInt8]
    /// In which encoding it came.
    package let encoding: PayloadEncoding

    init(builder: consuming DocumentBuilder, encoding: PayloadEncoding) {
        slots = builder.slots
        text = builder.text
        self.encoding = encoding
    }

    /// The outermost value.
    package var root: Node { Node(document: self, index: 0) }

    /// Parses a message of the contract: MessagePack where the first byte is that of a map, else JSON.
    /// - Throws: ``DocumentError`` saying what is wrong. That the root is a map is for the caller to ask.
    package static func parse(payload: UnsafeRawBufferPointer) throws(DocumentError) -> Document {
        switch PayloadEncoding(of: payload) {
        case .messagePack: try parse(messagePack: payload)
        case .json: try parse(json: payload)
        }
    }

    /// ``parse(payload:)-(UnsafeRawBufferPointer)`` of an array.
    package static func parse(payload: [UInt8]) throws(DocumentError) -> Document {
        try withBytes(payload, parse(payload:))
    }
}

/// The two encodings of the contract's messages.
package enum PayloadEncoding: Sendable, Equatable {
    case json, messagePack

    /// The encoding that a payload's first byte announces; an empty payload counts as JSON, as which it is then refused.
    package init(of payload: UnsafeRawBufferPointer) {
        switch payload.first ?? 0 {
        case 0x80...0x8F, 0xDE, 0xDF: self = .messagePack
        default: self = .json
        }
    }
}

/// One value. A container's content follows it directly; `end` is the index after the whole of it.
struct Slot: Sendable {
    var kind: Node.Kind
    /// Bytes of a string, elements of an array, members of a map.
    var count: UInt32 = 0
    var end: UInt32 = 0
    /// The integer, the real's bit pattern, the truth value, or where the string starts.
    var bits: UInt64 = 0
}

/// Collects slots while a parsed tree is walked.
struct DocumentBuilder: ~Copyable {
    var slots: [Slot] = []
    var text: [UInt8] = []
    let maximumDepth: Int

    init(maximumDepth: Int, sizeHint: Int) {
        self.maximumDepth = maximumDepth
        slots.reserveCapacity(min(sizeHint / 6 + 4, 1 << 16))
        text.reserveCapacity(min(sizeHint, 1 << 20))
    }

    mutating func scalar(_ kind: Node.Kind, bits: UInt64 = 0) {
        slots.append(Slot(kind: kind, end: UInt32(slots.count + 1), bits: bits))
    }

    mutating func string(_ bytes: UnsafeRawBufferPointer, kind: Node.Kind = .string) {
        slots.append(Slot(kind: kind, count: UInt32(bytes.count), end: UInt32(slots.count + 1), bits: UInt64(text.count)))
        text.append(contentsOf: bytes)
    }

    mutating func open(_ kind: Node.Kind, count: Int, depth: Int) throws(DocumentError) -> Int {
        guard depth < maximumDepth else { throw DocumentError(.tooDeep, "containers stand within each other more than \(maximumDepth) deep") }
        slots.append(Slot(kind: kind, count: UInt32(count)))
        return slots.count - 1
    }

    mutating func close(_ index: Int) { slots[index].end = UInt32(slots.count) }

    mutating func real(_ value: Double) throws(DocumentError) {
        guard value.isFinite else { throw DocumentError(.notFinite, "a number is not finite") }
        scalar(.real, bits: value.bitPattern)
    }
}

/// `withUnsafeBytes` that keeps the thrown type.
func withBytes<Result>(_ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(DocumentError) -> Result) throws(DocumentError) -> Result {
    var result: Swift.Result<Result, DocumentError>?
    bytes.withUnsafeBytes { buffer in
        do throws(DocumentError) { result = .success(try body(buffer)) } catch { result = .failure(error) }
    }
    guard let result else { throw DocumentError(.malformed, "no bytes") }
    return try result.get()
}
