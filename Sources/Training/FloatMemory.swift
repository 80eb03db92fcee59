import Glibc

/// A block of fp32 memory of fixed size, 64-byte aligned and zeroed, that lives as long as the object.
///
/// `@unchecked Sendable`: the trainer that owns it hands it to the pool's threads in disjoint parts and waits for them.
package final class FloatMemory: @unchecked Sendable {
    package let base: UnsafeMutablePointer<Float>
    package let count: Int

    /// - Throws: `TrainingError.outOfMemory`.
    package init(count: Int) throws(TrainingError) {
        let bytes = (max(count, 16) * 4 + 63) / 64 * 64
        var pointer: UnsafeMutableRawPointer?
        guard posix_memalign(&pointer, bytes >= 1 << 21 ? 1 << 21 : 64, bytes) == 0, let pointer else { throw .outOfMemory(byteCount: bytes) }
        if bytes >= 1 << 21 { madvise(pointer, bytes, 14 /* MADV_HUGEPAGE */) }
        memset(pointer, 0, bytes)
        base = pointer.bindMemory(to: Float.self, capacity: bytes / 4)
        self.count = count
    }

    deinit { free(base) }

    /// Sets every element to +0.
    package func clear() { memset(base, 0, 4 * count) }
}
