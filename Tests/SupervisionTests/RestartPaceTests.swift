import Supervision
import Testing

@Suite("The pace of restarts")
struct RestartPaceTests {
    /// A child that lives for so long, and the pause after it.
    private static func live(_ seconds: Double, _ pace: inout RestartPace, from start: Double = 1_000) -> Double {
        pace.begins(at: start)
        return pace.pause(ended: start + seconds)
    }

    @Test("the first restart comes at once, each later one a second later, and none after more than half a minute")
    func grows() {
        var pace = RestartPace()
        let pauses = (0..<40).map { _ in Self.live(0.1, &pace) }
        #expect(pauses == (0..<40).map { min(30, Double($0)) })
    }

    @Test("a child that has lived for a minute starts over")
    func heals() {
        var pace = RestartPace()
        for _ in 0..<40 { _ = Self.live(0.1, &pace) }
        #expect(Self.live(59, &pace) == 30)
        #expect(Self.live(60, &pace) == 0)
        #expect(Self.live(0.1, &pace) == 1)
    }

    @Test("starts that fail before there is a new child grow apart, though the last child lived for hours")
    func failedStarts() {
        var pace = RestartPace()
        pace.begins(at: 0)
        let ended = 7_200.0
        var pauses = [pace.pause(ended: ended)]
        for attempt in 1...3 {
            pace.begins(at: ended + Double(attempt))
            pauses.append(pace.pause(ended: ended))
        }
        #expect(pauses == [0, 1, 2, 3])
    }
}
