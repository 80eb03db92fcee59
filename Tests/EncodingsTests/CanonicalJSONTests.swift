import Encodings
import Testing

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

@Suite("canonical JSON")
struct CanonicalJSONTests {
    @Test(
        "reals are printed as ECMAScript prints them (RFC 8785, appendix B)",
        arguments: [
            (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"), (0x8000_0000_0000_0001, "-5e-324"),
            (0x7FEF_FFFF_FFFF_FFFF, "1.7976931348623157e+308"), (0xFFEF_FFFF_FFFF_FFFF, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"), (0xC340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"), (0x44B5_2D02_C7E1_4AF5, "9.999999999999997e+22"),
            (0x44B5_2D02_C7E1_4AF6, "1e+23"), (0x44B5_2D02_C7E1_4AF7, "1.0000000000000001e+23"), (0x444B_1AE4_D6E2_EF4E, "999999999999999700000"),
            (0x444B_1AE4_D6E2_EF4F, "999999999999999900000"), (0x444B_1AE4_D6E2_EF50, "1e+21"), (0x3EB0_C6F7_A0B5_ED8C, "9.999999999999997e-7"),
            (0x3EB0_C6F7_A0B5_ED8D, "0.000001"), (0x41B3_DE43_5555_5553, "333333333.3333332"), (0x41B3_DE43_5555_5554, "333333333.33333325"),
            (0x41B3_DE43_5555_5555, "333333333.3333333"), (0x41B3_DE43_5555_5556, "333333333.3333334"), (0x41B3_DE43_5555_5557, "333333333.33333343"),
            (0xBECB_F647_612F_3696, "-0.0000033333333333333333"), (0x4314_3FF3_C1CB_0959, "1424953923781206.2"),
        ] as [(UInt64, String)])
    func reals(bits: UInt64, expected: String) {
        #expect(text(JSONValue.real(Double(bitPattern: bits)).canonical) == expected)
    }

    @Test("every printed real reads back as the same double", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var state = seed
        for _ in 0..<20_000 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let value = Double(bitPattern: state)
            guard value.isFinite else { continue }
            let printed = text(JSONValue.real(value).canonical)
            #expect(Double(printed) == value, "seed \(seed): \(printed)")
        }
    }

    @Test("RFC 8785's sample object becomes its canonical form")
    func sample() throws {
        let source = #"""
            {
              "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
              "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
              "literals": [null, true, false]
            }
            """#
        let expected =
            #"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        #expect(text(try JSONValue.parse(source).canonical) == expected)
        #expect(text(try Document.parse(json: Array(source.utf8)).root.canonical) == expected)
    }

    @Test("names are sorted by code point, where RFC 8785 sorts by UTF-16 unit")
    func order() throws {
        let source = #"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#
        let order = try JSONValue.parse(source).canonical.split(separator: UInt8(ascii: ",")).map { $0.last { (48...57).contains($0) } }
        #expect(order.compactMap { $0.map { Int($0) - 48 } } == [2, 4, 6, 7, 1, 3, 5])
    }

    @Test("integers are printed in full")
    func integers() throws {
        #expect(
            text(try JSONValue.parse("[9223372036854775807,-9223372036854775808,9007199254740993,-0]").canonical)
                == "[9223372036854775807,-9223372036854775808,9007199254740993,0]")
    }

    @Test("a node's canonical form leaves out members that are null, but not elements")
    func nulls() throws {
        let document = try Document.parse(json: Array(#"{"b":null,"a":[null,{"c":null}]}"#.utf8))
        #expect(text(document.root.canonical) == #"{"a":[null,{}]}"#)
    }

    @Test("a pretty print reads back as the same value")
    func pretty() throws {
        let value = try JSONValue.parse(#"{"a":[],"b":{},"c":[1,{"d":"e"}],"f":null}"#)
        #expect(try JSONValue.parse(value.prettyPrinted) == value)
        #expect(text(value.prettyPrinted).hasPrefix("{\n  \"a\": [],\n  \"b\": {},\n  \"c\": [\n    1,\n    {\n      \"d\": \"e\"\n    }\n  ],"))
    }
}
