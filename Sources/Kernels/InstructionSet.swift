import CKernels

/// Why a kernel resource could not be had.
package enum KernelError: Error, Equatable, CustomStringConvertible {
    /// The named instruction set is unknown or this processor lacks it.
    case unavailableInstructionSet(name: String, available: [InstructionSet])
    /// The processor lacks what every set needs.
    case noInstructionSet
    /// Memory was refused.
    case outOfMemory(byteCount: Int)

    package var description: String {
        switch self {
        case .unavailableInstructionSet(let name, let available):
            let names = available.map(\.rawValue).joined(separator: ", ")
            return "the instruction set \"\(name)\" is not available on this processor; it has: \(names). Unset SCRIPTORIUM_ISA to use the widest"
        case .noInstructionSet:
            return "this processor lacks AVX2 or FMA, and on x86 the engine needs both: use another machine for what computes (a broker runs here)"
        case .outOfMemory(let byteCount):
            return "no memory for \(byteCount) bytes; free some, or use a smaller model"
        }
    }
}

/// The variants of the kernels. All give the same bits; they differ only in speed.
package enum InstructionSet: String, CaseIterable, Sendable {
    case plain, avx2, avx512, neon

    init(code: Int32) {
        self = InstructionSet.allCases.first { $0.code == code } ?? .plain
    }

    var code: Int32 {
        switch self {
        case .plain: Int32(CK_PLAIN)
        case .avx2: Int32(CK_AVX2)
        case .avx512: Int32(CK_AVX512)
        case .neon: Int32(CK_NEON)
        }
    }

    /// The table of this set's kernels, or nil where the processor lacks it.
    package var kernels: OpaquePointer? {
        ck_kernels_of(code).map { OpaquePointer($0) }
    }

    /// What this processor can run, the narrowest first.
    package static var available: [InstructionSet] {
        allCases.filter { ck_kernels_of($0.code) != nil }
    }

    /// What operations without a pool use, and pools and matrices made without naming a set.
    package static var current: InstructionSet {
        InstructionSet(code: ck_isa_of(ck_current()))
    }

    /// Makes a set current for the process: at start-up, before pools and matrices are made.
    /// - Parameters:
    ///   - name: as in SCRIPTORIUM_ISA; nil or empty chooses the widest available.
    ///   - available: what the processor can run.
    /// - Throws: `KernelError.noInstructionSet` where that is nothing, `.unavailableInstructionSet` listing what there is; never a silent
    ///   fallback.
    @discardableResult
    package static func select(named name: String?, available: [InstructionSet] = Self.available) throws(KernelError) -> InstructionSet {
        guard !available.isEmpty else { throw .noInstructionSet }
        guard let name, !name.isEmpty else { return current }
        guard let set = InstructionSet(rawValue: name), ck_select(set.code) else {
            throw .unavailableInstructionSet(name: name, available: available)
        }
        return set
    }
}
