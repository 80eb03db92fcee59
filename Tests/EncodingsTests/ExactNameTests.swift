import Encodings
import Testing

@Suite("Names of JSON members")
struct ExactNameTests {
    @Test("names that look alike but are spelt with other code points are two members")
    func exactNames() throws {
        let composed = "caf\u{E9}"
        let decomposed = "cafe\u{301}"
        let text = "{\"\(composed)\":1,\"\(decomposed)\":2}"
        let object = try #require(try JSONValue.parse(text).objectValue)
        #expect(object.count == 2)
        #expect(object[composed]?.intValue == 1)
        #expect(object[decomposed]?.intValue == 2)
    }

    @Test("the same holds where members are found through the index")
    func manyMembers() {
        var object = JSONObject()
        for number in 0..<100 { object["n\(number)"] = .integer(Int64(number)) }
        object["\u{E9}"] = .integer(-1)
        object["e\u{301}"] = .integer(-2)
        #expect(object.count == 102)
        #expect(object["\u{E9}"]?.intValue == -1)
        #expect(object["e\u{301}"]?.intValue == -2)
        object["\u{E9}"] = nil
        #expect(object["\u{E9}"] == nil && object["e\u{301}"]?.intValue == -2 && object["n99"]?.intValue == 99)
    }
}
