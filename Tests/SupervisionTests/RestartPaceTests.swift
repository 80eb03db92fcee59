import Supervision
import Testing

@Suite("The pace of restarts")
struct RestartPaceTests {
    @Test("the first restart comes at once, each later one a second later, and none after more than half a minute")
    func grows() {
        var pace = RestartPace()
        let pauses = (0..<40).map { _ in pace.pause(afterSeconds: 0.1) }
        #expect(pauses == (0..<40).map { min(30, Double($0)) })
    }

    @Test("a child that has lived for a minute starts over")
    func heals() {
        var pace = RestartPace()
        for _ in 0..<40 { _ = pace.pause(afterSeconds: 0.1) }
        #expect(pace.pause(afterSeconds: 59) == 30)
        #expect(pace.pause(afterSeconds: 60) == 0)
        #expect(pace.pause(afterSeconds: 0.1) == 1)
    }
}
