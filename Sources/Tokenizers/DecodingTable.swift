/// The bytes of every id, end to end, for decoding at memory speed.
struct DecodingTable: Sendable {
    /// Room after the last token, so that a copy of ``step`` bytes never leaves the table.
    static let step = 16

    /// One more than the largest id.
    let count: Int
    private let bytes: [UInt8]
    /// Where each id's bytes start; one more at the end.
    private let starts: [Int32]
    private let special: [Bool]
    /// The vocabulary's index of each id, or -1.
    let vocabularyIndex: [Int32]

    init(vocabulary: ByteStringTable, ids: [Int32], added: [AddedToken]) {
        let count = Int(max(ids.max() ?? -1, added.map(\.id).max() ?? -1)) + 1
        var indexOf = [Int32](repeating: -1, count: count)
        for (index, id) in ids.enumerated() { indexOf[Int(id)] = Int32(index) }
        var special = [Bool](repeating: false, count: count)
        var contents: [Int32: [UInt8]] = [:]
        for token in added {
            special[Int(token.id)] = token.isSpecial
            contents[token.id] = Array(token.content.utf8)
        }
        var bytes: [UInt8] = []
        var starts: [Int32] = [0]
        for id in 0..<count {
            if indexOf[id] >= 0 {
                bytes += vocabulary.withKey(Int(indexOf[id])) { ByteAlphabet.bytes(ofSpelling: $0) }
            } else if let content = contents[Int32(id)] {
                bytes += content.withUnsafeBufferPointer { ByteAlphabet.bytes(ofSpelling: $0) }
            }
            starts.append(Int32(bytes.count))
        }
        bytes += [UInt8](repeating: 0, count: Self.step)
        self.count = count
        self.bytes = bytes
        self.starts = starts
        self.special = special
        vocabularyIndex = indexOf
    }

    /// The bytes of one id; none for an id that does not exist.
    func bytes(of id: Int32) -> [UInt8] {
        guard id >= 0, id < count else { return [] }
        return Array(bytes[Int(starts[Int(id)])..<Int(starts[Int(id) + 1])])
    }

    func isSpecial(_ id: Int32) -> Bool { id >= 0 && id < count && special[Int(id)] }

    /// The bytes of ids, joined.
    func join(_ ids: UnsafeBufferPointer<Int32>, skipSpecial: Bool) -> [UInt8] {
        // The exact length first, so that the copy needs no further questions.
        var total = 0
        forEach(ids, skipSpecial) { _, length in total += length }
        return [UInt8](unsafeUninitializedCapacity: total + Self.step) { output, written in
            guard let target = output.baseAddress else { return }
            bytes.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                var place = UnsafeMutableRawPointer(target)
                forEach(ids, skipSpecial) { start, length in
                    place.copyMemory(from: base + start, byteCount: Self.step)
                    if length > Self.step { place.copyMemory(from: base + start, byteCount: length) }
                    place += length
                }
            }
            written = total
        }
    }

    @inline(__always)
    private func forEach(_ ids: UnsafeBufferPointer<Int32>, _ skipSpecial: Bool, _ body: (_ start: Int, _ length: Int) -> Void) {
        starts.withUnsafeBufferPointer { starts in
            special.withUnsafeBufferPointer { special in
                for id in ids where id >= 0 && id < count {
                    if skipSpecial && special[Int(id)] { continue }
                    let start = Int(starts[Int(id)])
                    body(start, Int(starts[Int(id) + 1]) - start)
                }
            }
        }
    }
}
