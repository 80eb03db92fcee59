import CKernels

/// A fixed team of threads for loops whose parts are independent; the caller is one of them.
///
/// Threads spin about 50 µs for the next loop, then sleep. Used from one thread at a time and never from inside a part.
///
///     let pool = ThreadPool(threads: 2)
///     pool.run(parts: rows) { row in … }
///
/// Unchecked: the C pool's own atomics order every access; the rule of one caller at a time is the owner's.
package final class ThreadPool: @unchecked Sendable {
    package let handle: OpaquePointer
    package let threadCount: Int
    package let instructionSet: InstructionSet

    /// - Parameter threads: at least 1, the caller included. Fewer run where the system refuses threads.
    /// - Parameter instructionSet: what the kernels of this pool use; must be available.
    package init(threads: Int, instructionSet: InstructionSet = .current) {
        let kernels = ck_kernels_of(instructionSet.code) ?? ck_current()
        var count = max(1, threads)
        var made = ck_pool_create(count, kernels)
        while made == nil && count > 1 {
            count -= 1
            made = ck_pool_create(count, kernels)
        }
        guard let made else { preconditionFailure("no memory for a thread pool") }
        handle = made
        threadCount = count
        self.instructionSet = InstructionSet(code: ck_isa_of(kernels))
    }

    deinit { ck_pool_destroy(handle) }

    /// Calls `body` with each of 0 ..< parts once, on all threads, and returns when all are done.
    package func run(parts: Int, _ body: (Int) -> Void) {
        precondition(parts < 1 << 20 - 1024, "too many parts for one loop")
        withoutActuallyEscaping(body) { body in
            withUnsafePointer(to: body) { pointer in
                ck_pool_run(
                    handle, parts,
                    { context, part, _ in
                        context?.assumingMemoryBound(to: ((Int) -> Void).self).pointee(part)
                    }, UnsafeMutableRawPointer(mutating: pointer))
            }
        }
    }
}
