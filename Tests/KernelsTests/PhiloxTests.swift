import Kernels
import Testing

@Suite struct PhiloxTests {
    @Test("Philox4x32-10 gives Random123's known answers")
    func knownAnswers() {
        #expect(Philox.block(seed: 0, counter: SIMD4(0, 0, 0, 0)) == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
        let ones = SIMD4<UInt32>(repeating: .max)
        #expect(Philox.block(seed: .max, counter: ones) == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
        let pi = SIMD4<UInt32>(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344)
        #expect(Philox.block(seed: 0x299f_31d0_a409_3822, counter: pi) == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
    }

    @Test("a uniform number is never 0 and never 1")
    func uniformBounds() {
        #expect(Philox.uniform(0) == 0x1p-33)
        #expect(Philox.uniform(.max) == 1 - 0x1p-24)
    }
}
