internal import TaskProtocol

/// How much of a transfer is under way at once: what the link answers within about a second, and never more than four parts of 1 MiB.
///
/// On one machine that is four whole parts after a few answers; over a slow line it is one small part, so that whoever shares the line, or waits for
/// a sign of life over it, is not held up by what was sent ahead.
package struct TransferPace: Sendable, Equatable {
    /// The size of the next part.
    package private(set) var partBytes = 64 << 10
    /// Parts that may be under way: the credit.
    package private(set) var window = 1

    package static let largestPart = ArtifactOperation.partBytes
    package static let smallestPart = 16 << 10
    package static let widest = 4
    private static let quick: Int64 = 300
    private static let slow: Int64 = 1000

    package init() {}

    /// An answer came so long after its part was sent: first parts grow, then their number; shrinking goes the other way.
    package mutating func answered(afterMilliseconds time: Int64) {
        if time < Self.quick {
            if partBytes < Self.largestPart { partBytes *= 2 } else { window = min(window + 1, Self.widest) }
        } else if time > Self.slow {
            if window > 1 { window -= 1 } else { partBytes = max(partBytes / 2, Self.smallestPart) }
        }
    }

    /// Nothing came: carefully from here.
    package mutating func lost() {
        window = 1
        partBytes = max(partBytes / 2, Self.smallestPart)
    }
}
