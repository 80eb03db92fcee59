import Encodings
import Glibc
import TaskProtocol
import Testing

@Suite("speed")
struct DecodingSpeedTests {
    @Test("a submit of 253 bytes is read, checked and digested in a fraction of what an any-value enum takes (64 µs), in either encoding")
    func decoding() throws {
        var json =
            #"{"op":"submit","id":12345,"task":{"kind":"generate","params":{"model":"demo","prompt":"","n":1,"max_length":64,"temperature":0.7,"top_p":0.95,"seed":12345678,"stop":["\n\n"]},"queue":"default","priority":5,"key":"job-0000001","tags":{"run":"a"}}}"#
        json = json.replacing("\"prompt\":\"\"", with: "\"prompt\":\"" + String(repeating: "In ", count: 20).prefix(253 - json.utf8.count) + "\"")
        #expect(json.utf8.count == 253)
        var writer = MessagePackWriter()
        try JSONValue.parse(json).write(to: &writer)
        for (name, bytes) in [("JSON", Array(json.utf8)), ("MessagePack", writer.bytes)] {
            let best = (0..<5).map { _ in microseconds(bytes, rounds: 4000) }.min() ?? .infinity
            print("decoding a submit, \(name), \(bytes.count) bytes: \(best) µs of processor time")
            #expect(best < 40)
        }
    }

    private func microseconds(_ bytes: [UInt8], rounds: Int) -> Double {
        let start = processorSeconds()
        for _ in 0..<rounds {
            if case .failure(let error) = Request.decode(bytes).operation { Issue.record("\(error)") }
        }
        return (processorSeconds() - start) / Double(rounds) * 1e6
    }

    private func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }
}
