/// What encoding needs besides the text: the piece cache, room for merging and for the ids.
///
/// A tokenizer keeps a few of them; each call takes one for its time, so that threads share neither memory nor locks while they work.
/// `@unchecked Sendable`: whoever took it from the pool is its only user until giving it back.
final class EncodingWorkspace: @unchecked Sendable {
    /// A piece longer than this is cut: no text that fits a message or a line comes near.
    private static let maximumPiece = 1 << 30

    private let preTokenizer = PreTokenizer()
    private let cache = PieceCache()
    private var merging = Merging()
    private var output: UnsafeMutablePointer<Int32>
    private var capacity = 1 << 12
    private var count = 0

    init() { output = .allocate(capacity: capacity) }

    deinit { output.deallocate() }

    /// The ids written since the last ``clear()``; valid until the next call.
    var ids: UnsafeBufferPointer<Int32> { UnsafeBufferPointer(start: output, count: count) }

    /// Forgets the ids. Room beyond a few megabytes is given back.
    func clear() {
        count = 0
        guard capacity > 1 << 20 else { return }
        output.deallocate()
        capacity = 1 << 12
        output = .allocate(capacity: capacity)
    }

    /// Appends the id of an added token.
    func append(_ id: Int32) {
        reserve(1)
        output[count] = id
        count += 1
    }

    /// Appends the ids of text that holds no added token.
    func encode(_ text: UnsafeBufferPointer<UInt8>, with tokenizer: borrowing EncodingTables) {
        guard let base = text.baseAddress else { return }
        let end = text.count
        if !tokenizer.usesRegex {
            appendPiece(base, end, available: end, tokenizer)
            return
        }
        var start = 0
        while start < end {
            let stop = preTokenizer.pieceEnd(base, start, end)
            appendPiece(base + start, stop - start, available: end - start, tokenizer)
            start = stop
        }
    }

    @inline(__always)
    private func appendPiece(_ piece: UnsafePointer<UInt8>, _ length: Int, available: Int, _ tokenizer: borrowing EncodingTables) {
        guard length <= PieceCache.maximumLength else { return appendLongPiece(piece, length, tokenizer) }
        reserve(PieceCache.maximumIDs + 1)
        let key = PieceCache.key(piece, length: length, available: available)
        let found = cache.find(key, output + count)
        if found >= 0 {
            count += found
        } else {
            let start = count
            merge(piece, length, tokenizer)
            cache.store(key, output + start, count: count - start)
        }
    }

    @inline(never)
    private func appendLongPiece(_ piece: UnsafePointer<UInt8>, _ length: Int, _ tokenizer: borrowing EncodingTables) {
        var start = 0
        while start < length {
            let part = min(length - start, Self.maximumPiece)
            merge(piece + start, part, tokenizer)
            start += part
        }
    }

    @inline(never)
    private func merge(_ piece: UnsafePointer<UInt8>, _ length: Int, _ tokenizer: borrowing EncodingTables) {
        if tokenizer.ignoresMerges, let whole = tokenizer.id(ofPiece: UnsafeBufferPointer(start: piece, count: length)) {
            return append(whole)
        }
        reserve(tokenizer.symbols.capacity(length))
        let symbols = tokenizer.symbols.write(piece, length, output + count)
        count += merging.apply(tokenizer.pairs, output + count, symbols)
    }

    @inline(__always)
    private func reserve(_ more: Int) {
        if count + more > capacity { grow(count + more) }
    }

    @inline(never)
    private func grow(_ needed: Int) {
        let larger = max(needed, capacity * 2)
        let moved = UnsafeMutablePointer<Int32>.allocate(capacity: larger)
        moved.update(from: output, count: count)
        output.deallocate()
        output = moved
        capacity = larger
    }
}
