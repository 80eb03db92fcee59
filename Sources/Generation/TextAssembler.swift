/// Puts a sample's text together from the bytes of its tokens.
///
/// Bytes that are not UTF-8 appear as U+FFFD, one for each maximal bad sequence, and so does NUL; an incomplete sequence
/// waits for its end, and so does what may begin a stop string. The pieces taken add up to the text.
struct TextAssembler: Sendable {
    /// The text so far, always whole characters; behind a stop string nothing is added.
    private(set) var utf8: [UInt8] = []
    /// Whether a stop string came; the text is already cut before it.
    private(set) var isStopped = false
    private var pending: [UInt8] = []
    private var matcher: StopMatcher
    private var taken = 0

    /// - Parameter stops: strings of which none is empty.
    init(stops: [String]) { matcher = StopMatcher(stops) }

    /// Begins anew, for a redraw.
    mutating func reset() {
        utf8.removeAll(keepingCapacity: true)
        pending.removeAll(keepingCapacity: true)
        matcher.reset()
        isStopped = false
        taken = 0
    }

    /// Takes one token's bytes.
    mutating func append(_ bytes: some Sequence<UInt8>) {
        for byte in bytes where !isStopped { take(byte) }
    }

    /// Ends the text: an incomplete sequence becomes U+FFFD.
    mutating func finish() {
        if !pending.isEmpty, !isStopped { replacePending() }
        pending.removeAll()
    }

    /// What has become certain since the last piece.
    /// - Parameter isLast: nothing follows, so nothing is held back.
    mutating func takePiece(isLast: Bool) -> String {
        let end = isLast || isStopped ? utf8.count : utf8.count - matcher.heldBack
        guard end > taken else { return "" }
        defer { taken = end }
        return String(decoding: utf8[taken..<end], as: UTF8.self)
    }

    private mutating func take(_ byte: UInt8) {
        if let lead = pending.first {
            if Self.continuation(lead: lead, position: pending.count).contains(byte) {
                pending.append(byte)
                if pending.count == Self.length(lead: lead) { flush() }
                return
            }
            replacePending()
            if isStopped { return }
        }
        switch byte {
        case 0: emit([0xEF, 0xBF, 0xBD])
        case 1...0x7F: emit(CollectionOfOne(byte))
        case 0xC2...0xF4: pending.append(byte)
        default: emit([0xEF, 0xBF, 0xBD])
        }
    }

    private mutating func flush() {
        let character = pending
        pending.removeAll(keepingCapacity: true)
        emit(character)
    }

    private mutating func replacePending() {
        pending.removeAll(keepingCapacity: true)
        emit([0xEF, 0xBF, 0xBD])
    }

    /// Adds one whole character, watching for the stop strings.
    private mutating func emit(_ character: some Collection<UInt8>) {
        for byte in character {
            utf8.append(byte)
            guard let length = matcher.advance(byte) else { continue }
            utf8.removeLast(length)
            isStopped = true
            return
        }
    }

    /// Bytes of the sequence that this one leads.
    private static func length(lead: UInt8) -> Int { lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4 }

    /// What may stand at this place behind the lead (Unicode 16, table 3-7).
    private static func continuation(lead: UInt8, position: Int) -> ClosedRange<UInt8> {
        guard position == 1 else { return 0x80...0xBF }
        switch lead {
        case 0xE0: return 0xA0...0xBF
        case 0xED: return 0x80...0x9F
        case 0xF0: return 0x90...0xBF
        case 0xF4: return 0x80...0x8F
        default: return 0x80...0xBF
        }
    }
}
