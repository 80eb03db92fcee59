import CKernels
import GoldenKernels
import Kernels
import Testing

/// The cases that are written in C (Tests/GoldenKernels), as the build for another processor runs them under emulation, too.
@Suite("Golden cases in C")
struct GoldenCasesTests {
    private final class Results {
        var found: [(name: String, hash: UInt64)] = []
    }

    private func compute(_ set: InstructionSet, threads: Int) throws -> [(name: String, hash: UInt64)] {
        let results = Results()
        let code = try #require(set.kernels.map { ck_isa_of(UnsafePointer($0)) })
        let done = golden_compute(
            code, threads,
            { context, name, hash in
                guard let context, let name else { return }
                Unmanaged<Results>.fromOpaque(context).takeUnretainedValue().found.append((String(cString: name), hash))
            }, Unmanaged.passUnretained(results).toOpaque())
        #expect(done)
        return results.found
    }

    @Test("every case keeps its bits on every instruction set, on 1 and 3 threads, and no committed case is left out")
    func golden() throws {
        for set in InstructionSet.available {
            for threads in [1, 3] {
                let found = try compute(set, threads: threads)
                for (name, hash) in found {
                    let committed = Golden.hashes[name].map { String($0, radix: 16) }
                    #expect(committed == String(hash, radix: 16), "golden \"\(name)\" on \(set), \(threads) threads")
                }
                #expect(Set(found.map(\.name)) == Golden.namesOfCases)
            }
        }
    }

    @Test("a survey is the sum of its pieces, whatever the threads")
    func survey() {
        for set in InstructionSet.available {
            let (one, three) = (ThreadPool(threads: 1, instructionSet: set), ThreadPool(threads: 3, instructionSet: set))
            let whole = ck_survey(three.handle, Int32(CK_EXP), 0x3f00_0000, 1, 200_001)
            let parts = ck_survey(one.handle, Int32(CK_EXP), 0x3f00_0000, 1, 70_000) &+ ck_survey(one.handle, Int32(CK_EXP), 0x3f01_1170, 1, 130_001)
            #expect(whole == parts, "\(set)")
        }
    }
}
