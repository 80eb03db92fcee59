import CKernels
import Foundation
import Kernels
import TestSupport
import Testing

/// Rows of queries and keys, and how they are turned.
struct RotaryCase {
    var rows: Int
    var heads: Int
    var headWidth: Int
    var pairs: Int
    var isHeadByHead: Bool
    var x: [Float]
    var places: [Int32]
    static let positions = 50

    init(rows: Int, heads: Int, headWidth: Int, pairs: Int, isHeadByHead: Bool, numbers: inout Numbers) {
        (self.rows, self.heads, self.headWidth, self.pairs, self.isHeadByHead) = (rows, heads, headWidth, pairs, isHeadByHead)
        x = numbers.uniform(rows * heads * headWidth * 3, scale: 2)
        places = (0..<rows).map { _ in Int32(numbers.integer(0...Self.positions - 1)) }
    }

    var table: (cosines: [Float], sines: [Float]) {
        var cosines = [Float](repeating: 0, count: Self.positions * pairs)
        var sines = cosines
        ck_rotary_table(Self.positions, pairs, 10_000, &cosines, &sines)
        return (cosines, sines)
    }

    /// Where head `head` of query (0), key (1) or value (2) begins in a row.
    func place(_ part: Int, _ head: Int) -> Int {
        isHeadByHead ? (head * 3 + part) * headWidth : (part * heads + head) * headWidth
    }

    func run(_ set: InstructionSet, threads: Int = 1, inverse: Bool = false, of start: [Float]? = nil) -> [Float] {
        let pool = ThreadPool(threads: threads, instructionSet: set)
        let (cosines, sines) = table
        var out = start ?? x
        out.withUnsafeMutableBufferPointer { out in
            cosines.withUnsafeBufferPointer { cosines in
                sines.withUnsafeBufferPointer { sines in
                    places.withUnsafeBufferPointer { places in
                        var arguments = ck_rotary_args(
                            queries: out.baseAddress! + place(0, 0), keys: out.baseAddress! + place(1, 0), rows: rows, stride: 3 * heads * headWidth,
                            heads: heads, head_stride: isHeadByHead ? 3 * headWidth : headWidth, pairs: pairs, cosines: cosines.baseAddress!,
                            sines: sines.baseAddress!, places: places.baseAddress!, inverse: inverse)
                        ck_rotary(pool.handle, &arguments)
                    }
                }
            }
        }
        return out
    }
}

@Suite struct RotaryTests {
    @Test("every variant turns queries and keys to the definition's bits")
    func variantsAgree() {
        var numbers = Numbers(seed: 60)
        for index in 0..<16 {
            let pairs = numbers.integer(1...40)
            let made = RotaryCase(
                rows: numbers.integer(1...70), heads: numbers.integer(1...4), headWidth: 2 * pairs + numbers.integer(0...20), pairs: pairs,
                isHeadByHead: index % 2 == 0, numbers: &numbers)
            for inverse in [false, true] {
                let expected = made.run(.plain, inverse: inverse)
                for set in variants {
                    let got = made.run(set, threads: 1 + index % 3, inverse: inverse)
                    #expect(firstDifference(expected, got) == nil, "seed 60, case \(index), \(set), inverse \(inverse)")
                }
            }
        }
    }

    @Test("the turn is that of double precision, values and other columns stay, and the inverse turns back")
    func nearDouble() {
        var numbers = Numbers(seed: 61)
        let made = RotaryCase(rows: 40, heads: 2, headWidth: 24, pairs: 9, isHeadByHead: true, numbers: &numbers)
        let got = made.run(.plain)
        for row in 0..<made.rows {
            for part in 0..<3 {
                for head in 0..<made.heads {
                    let base = row * 3 * made.heads * made.headWidth + made.place(part, head)
                    for column in 0..<made.headWidth {
                        let pair = column % made.pairs
                        guard part < 2, column < 2 * made.pairs else {
                            #expect(got[base + column] == made.x[base + column])
                            continue
                        }
                        let angle = Double(made.places[row]) * pow(10_000, -Double(pair) / Double(made.pairs))
                        let (a, b) = (Double(made.x[base + pair]), Double(made.x[base + pair + made.pairs]))
                        let wanted = column < made.pairs ? a * cos(angle) - b * sin(angle) : b * cos(angle) + a * sin(angle)
                        #expect(abs(wanted - Double(got[base + column])) < 1e-5)
                    }
                }
            }
        }
        let back = made.run(.plain, inverse: true, of: got)
        #expect(zip(back, made.x).allSatisfy { abs($0 - $1) < 1e-5 })
    }

    @Test("rotary positions keep their bits")
    func golden() {
        var numbers = Numbers(seed: 62)
        let made = RotaryCase(rows: 33, heads: 3, headWidth: 50, pairs: 21, isHeadByHead: false, numbers: &numbers)
        for set in InstructionSet.available { Golden.expect(bitsHash(made.run(set)), "rotary") }
        Golden.expect(bitsHash(made.table.cosines + made.table.sines), "rotary table")
    }
}
