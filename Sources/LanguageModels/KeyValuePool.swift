import CKernels
import Glibc

/// Pages of keys and values, counted by reference so that texts with one prompt share them.
///
/// A page holds 64 positions of every layer (layer l from float l · `layerFloats` on, laid out as ck_attention.h says).
/// Pages come back to a free list and go back to the system only with the pool; a page that is shared is never
/// written: ``writable(_:)`` answers a copy.
final class KeyValuePool {
    /// Floats of one layer in one page.
    let layerFloats: Int
    /// Bytes of one page.
    var pageByteCount: Int { floats * MemoryLayout<Float>.stride }
    /// Pages that some sequence holds.
    private(set) var usedCount = 0
    private let floats: Int
    private let limit: Int
    private var buffers: [FloatBuffer] = []
    private var references: [Int32] = []
    private var free: [Int32] = []

    /// - Parameters:
    ///   - isNarrow: elements are bfloat16, two in a float's place.
    ///   - limit: the most pages to hand out at a time.
    init(description: ModelDescription, isNarrow: Bool, limit: Int) {
        layerFloats = ck_page_floats(description.heads, description.headWidth, isNarrow)
        floats = layerFloats * description.layers
        self.limit = limit
    }

    /// A page with one reference, or nil where the limit is reached. Its contents are arbitrary numbers, zeros where
    /// the layout pads.
    func take() -> Int32? {
        if let index = free.popLast() {
            references[Int(index)] = 1
            usedCount += 1
            return index
        }
        guard buffers.count < limit else { return nil }
        buffers.append(FloatBuffer(count: floats))
        references.append(1)
        usedCount += 1
        return Int32(buffers.count - 1)
    }

    /// One more holder of the page.
    func retain(_ page: Int32) { references[Int(page)] += 1 }

    /// One holder less; the last one frees the page.
    func release(_ page: Int32) {
        references[Int(page)] -= 1
        guard references[Int(page)] == 0 else { return }
        free.append(page)
        usedCount -= 1
    }

    /// A page with the same contents that its caller alone holds: the page itself, or a copy in exchange for the
    /// caller's reference. Nil where a copy is needed and the limit is reached.
    func writable(_ page: Int32) -> Int32? {
        guard references[Int(page)] > 1 else { return page }
        guard let copy = take() else { return nil }
        memcpy(base(copy), base(page), pageByteCount)
        release(page)
        return copy
    }

    /// Where the page's floats begin.
    func base(_ page: Int32) -> UnsafeMutablePointer<Float> { buffers[Int(page)].pointer }
}
