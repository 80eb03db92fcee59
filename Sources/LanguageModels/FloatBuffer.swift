import Glibc

/// Floats at an address that is a multiple of 64, owned by this object.
///
/// `@unchecked Sendable`: filled by whoever made it before it is shared, and only read from then on; session buffers
/// belong to one session, which is not Sendable.
package final class FloatBuffer: @unchecked Sendable {
    /// The first element; valid as long as the object.
    package let pointer: UnsafeMutablePointer<Float>
    package let count: Int

    /// Zeros. Large buffers come in whole 2 MiB pages, which spare the processor's address tables.
    /// - Parameter count: at least 0.
    package init(count: Int) {
        self.count = count
        let byteCount = max(64, count * MemoryLayout<Float>.stride)
        let isLarge = byteCount >= 1 << 21
        let alignment = isLarge ? 1 << 21 : 64
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: alignment)
        if isLarge { madvise(memory, byteCount, MADV_HUGEPAGE) }
        memset(memory, 0, byteCount)
        pointer = memory.bindMemory(to: Float.self, capacity: count)
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }
}
