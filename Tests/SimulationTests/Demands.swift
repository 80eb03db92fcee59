import Glibc
import TaskProtocol
import Worker

/// What a task needs. The world's tasks are of two shapes, told apart without decoding them: that is what the worker's own tests do, and here it would be
/// a tenth of all, as workers ask at every grant and every start.
enum Demands {
    private static let dataset = Array(#""dataset":"#.utf8)
    private static let count = Array(#""n":"#.utf8)

    static func of(_ grant: WorkerGrant) -> TaskDemand {
        if place(of: dataset, in: grant.resolved) != nil { return .everything }
        guard let place = place(of: count, in: grant.resolved), place < grant.resolved.count else { return .sequences(1) }
        return .sequences(max(1, Int(grant.resolved[place]) - 48))
    }

    /// Behind the first occurrence of a word, which begins with a quotation mark.
    private static func place(of word: [UInt8], in bytes: [UInt8]) -> Int? {
        bytes.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return nil }
            var searched = 0
            while let found = memchr(start + searched, 0x22, bytes.count - searched) {
                let place = UnsafeRawPointer(found) - start
                guard place + word.count <= bytes.count else { return nil }
                if memcmp(found, word, word.count) == 0 { return place + word.count }
                searched = place + 1
            }
            return nil
        }
    }
}
