import FoundationEssentials
import Glibc

/// Feeds a reader with damaged copies of files that are right, and looks on: it may refuse them or read them, but it must come back soon
/// and must not take memory that the bytes do not justify. (A crash ends the test process; that no error is untyped, the compiler knows.)
///
/// A few seconds by default. `FUZZ_SECONDS` runs each for so long, with new seeds; then the bytes of the round in hand lie in
/// `FUZZ_KEEP` (a folder, by default the system's temporary one) under the fuzz's name, for whoever comes after a crash.
package struct Fuzz {
    private let name: String
    private let seed: UInt64
    private let rounds: Int
    private let words: [[UInt8]]

    /// - Parameters:
    ///   - name: of the file kept, and in messages.
    ///   - words: pieces of the format that chance would hardly find: put in here and there.
    package init(_ name: String, seed: UInt64, rounds: Int, words: [String] = []) {
        (self.name, self.seed, self.rounds) = (name, seed, rounds)
        self.words = words.map { Array($0.utf8) }
    }

    /// What came of it.
    package struct Report {
        /// Rounds whose bytes the reader took.
        package internal(set) var accepted = 0
        package internal(set) var rounds = 0
        /// The longest round.
        package internal(set) var slowestSeconds = 0.0
        /// By how much the process's peak of memory rose meanwhile.
        package internal(set) var peakGrowthMegabytes = 0
        /// The seed of the slowest round.
        package internal(set) var slowestSeed: UInt64 = 0

        /// Whether nothing hung and no memory was taken without bound. Other tests run beside: both bounds leave room for them.
        package var isBounded: Bool { slowestSeconds < 20 && peakGrowthMegabytes < 1500 }
    }

    /// - Parameters:
    ///   - samples: files that are right.
    ///   - accepts: reads the bytes; whether it took them.
    package func run(_ samples: [[UInt8]], accepts: ([UInt8]) throws -> Bool) throws -> Report {
        let environment = ProcessInfo.processInfo.environment
        let seconds = environment["FUZZ_SECONDS"].flatMap(Double.init)
        let kept = (environment["FUZZ_KEEP"] ?? FileManager.default.temporaryDirectory.path()) + "/fuzz-" + name
        let (start, before) = (Self.now, Self.peakMegabytes)
        var report = Report()
        while seconds.map({ Self.now - start < $0 }) ?? (report.rounds < rounds) {
            let roundSeed = seed &+ UInt64(report.rounds)
            var generator = SeededGenerator(seed: roundSeed)
            let damaged = damage(samples, &generator)
            if seconds != nil { try Data(damaged).write(to: URL(filePath: kept)) }
            let began = Self.now
            if try accepts(damaged) { report.accepted += 1 }
            let took = Self.now - began
            if took > report.slowestSeconds { (report.slowestSeconds, report.slowestSeed) = (took, roundSeed) }
            report.rounds += 1
        }
        report.peakGrowthMegabytes = Self.peakMegabytes - before
        if seconds != nil { print("fuzz \(name): \(report)") }
        return report
    }

    // MARK: Damage

    private static let interesting: [UInt64] = [
        0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 40, 1 << 62, .max >> 1, 1 << 63, .max - 7, .max,
    ]
    private static let numbers = ["0", "-1", "1e999", "0.5", "9223372036854775807", "18446744073709551616", "4294967296", "null", "\"\"", "[]", "{}"]

    private func damage(_ samples: [[UInt8]], _ generator: inout SeededGenerator) -> [UInt8] {
        guard var bytes = samples.randomElement(using: &generator) else { return [] }
        for _ in 0..<Int.random(in: 1...6, using: &generator) {
            let place = Int.random(in: 0...bytes.count, using: &generator)
            let end = min(bytes.count, place + Int.random(in: 1...64, using: &generator))
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: bytes.removeSubrange(place...)
            case 1: bytes.removeSubrange(place..<end)
            case 2: bytes.insert(contentsOf: bytes[place..<end], at: place)
            case 3: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
            case 4 where place < bytes.count: bytes[place] ^= 1 << UInt8.random(in: 0...7, using: &generator)
            case 5 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &generator)
            case 6: overwrite(&bytes, at: place, &generator)
            case 7: bytes.replaceSubrange(place..<end, with: samples.randomElement(using: &generator)?.dropFirst(place).prefix(64) ?? [])
            case 8: replaceNumber(&bytes, from: place, &generator)
            default:
                if let word = words.randomElement(using: &generator) {
                    bytes.replaceSubrange(place..<(Bool.random(using: &generator) ? end : place), with: word)
                }
            }
        }
        return bytes
    }

    /// An integer of 2, 4 or 8 bytes, in either order, of the values where arithmetic goes wrong.
    private func overwrite(_ bytes: inout [UInt8], at place: Int, _ generator: inout SeededGenerator) {
        let width = [2, 4, 8].randomElement(using: &generator) ?? 4
        guard place + width <= bytes.count, let value = Self.interesting.randomElement(using: &generator) else { return }
        let little = (0..<width).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
        bytes.replaceSubrange(place..<place + width, with: Bool.random(using: &generator) ? little : little.reversed())
    }

    /// Digits of a text format become another number, or no number.
    private func replaceNumber(_ bytes: inout [UInt8], from place: Int, _ generator: inout SeededGenerator) {
        guard let start = bytes[place...].firstIndex(where: { (0x30...0x39).contains($0) }) else { return }
        let end = bytes[start...].firstIndex { !(0x30...0x39).contains($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Array((Self.numbers.randomElement(using: &generator) ?? "0").utf8))
    }

    // MARK: Measures

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private static var peakMegabytes: Int {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return usage.ru_maxrss / 1000
    }
}
