import Encodings
import TestSupport
import Testing

@Suite("documents")
struct DocumentTests {
    private func refusal(json text: String) -> DocumentError.Reason? {
        do throws(DocumentError) { _ = try Document.parse(payload: Array(text.utf8)) } catch { return error.reason }
        return nil
    }

    private func refusal(messagePack bytes: [UInt8]) -> DocumentError.Reason? {
        do throws(DocumentError) { _ = try Document.parse(messagePack: bytes) } catch { return error.reason }
        return nil
    }

    @Test(
        "JSON that the contract does not allow is refused with its reason",
        arguments: [
            ("", .malformed), ("{", .malformed), ("{\"a\":1,}", .malformed), ("{\"a\":1} x", .malformed), ("{'a':1}", .malformed),
            ("{\"a\":NaN}", .malformed), ("{\"a\":Infinity}", .malformed), ("{\"a\":01}", .malformed), ("{\"a\":1e999}", .notFinite),
            ("{\"a\":-1e999}", .notFinite), ("{\"a\":1,\"a\":2}", .duplicateName), ("{\"b\":{\"a\":1,\"a\":1}}", .duplicateName),
            ("{\"a\":1,\"\\u0061\":2}", .duplicateName), ("{\"a\":\"\\u0000\"}", .containsNUL), ("{\"\\u0000\":1}", .containsNUL),
            ("{\"a\":\"\\ud800\"}", .malformed), ("{\"a\":\"\\udc00\\ud800\"}", .malformed), ("{\"a\":\"\u{1}\"}", .malformed),
        ] as [(String, DocumentError.Reason)])
    func refusedJSON(text: String, reason: DocumentError.Reason) { #expect(refusal(json: text) == reason) }

    @Test(
        "invalid UTF-8 is refused in both encodings",
        arguments: [[0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80], [0xF4, 0x90, 0x80, 0x80], [0xE2, 0x82]])
    func invalidUTF8(bytes: [UInt8]) {
        #expect(throws: DocumentError.self) { try Document.parse(json: Array("{\"a\":\"".utf8) + bytes + Array("\"}".utf8)) }
        #expect(refusal(messagePack: [0x81, 0xA1, 0x61, 0xA0 | UInt8(bytes.count)] + bytes) == .malformed)
    }

    @Test(
        "MessagePack that the contract does not allow is refused with its reason",
        arguments: [
            ([], .malformed), ([0x81], .malformed), ([0x81, 0xA1, 0x61], .malformed), ([0x80, 0x80], .malformed), ([0xC1], .malformed),
            ([0x82, 0xA1, 0x61, 0x01, 0xA1, 0x61, 0x02], .duplicateName), ([0x81, 0x01, 0x01], .unsupportedType),
            ([0x81, 0xA1, 0x61, 0xD4, 0x01, 0x00], .unsupportedType), ([0x81, 0xA1, 0x61, 0xA1, 0x00], .containsNUL),
            ([0x81, 0xA1, 0x61, 0xCB, 0x7F, 0xF0, 0, 0, 0, 0, 0, 0], .notFinite), ([0x81, 0xA1, 0x61, 0xCA, 0x7F, 0xC0, 0, 0], .notFinite),
            ([0xDF, 0xFF, 0xFF, 0xFF, 0xFF], .malformed), ([0x81, 0xA1, 0x61, 0xDD, 0xFF, 0xFF, 0xFF, 0xFF], .malformed),
            ([0x81, 0xA1, 0x61, 0xDB, 0xFF, 0xFF, 0xFF, 0xFF], .malformed),
        ] as [([UInt8], DocumentError.Reason)])
    func refusedMessagePack(bytes: [UInt8], reason: DocumentError.Reason) { #expect(refusal(messagePack: bytes) == reason) }

    @Test("32 containers within each other are accepted and 33 refused, in both encodings")
    func depth() throws {
        func json(_ depth: Int) -> String { String(repeating: "[", count: depth) + String(repeating: "]", count: depth) }
        func pack(_ depth: Int) -> [UInt8] { [UInt8](repeating: 0x91, count: depth - 1) + [0x90] }
        #expect(refusal(json: json(32)) == nil)
        #expect(refusal(json: json(33)) == .tooDeep)
        #expect(refusal(json: json(100_000)) == .tooDeep)
        #expect(refusal(messagePack: pack(32)) == nil)
        #expect(refusal(messagePack: pack(33)) == .tooDeep)
        #expect(refusal(messagePack: pack(100_000)) == .tooDeep)
    }

    @Test("a byte order mark and white space around are allowed")
    func mark() throws {
        let document = try Document.parse(payload: [0xEF, 0xBB, 0xBF] + Array(" \r\n\t{\"a\": 1}\n ".utf8))
        #expect(document.root["a"]?.integerValue == 1)
    }

    @Test(
        "the first byte chooses the encoding",
        arguments: [(0x80, true), (0x8F, true), (0xDE, true), (0xDF, true), (0x7B, false), (0x90, false), (0xEF, false)])
    func choice(byte: UInt8, isMessagePack: Bool) {
        [byte].withUnsafeBytes { #expect((PayloadEncoding(of: $0) == .messagePack) == isMessagePack) }
    }

    @Test("an integer beyond 64 bits is read as a real beside exact ones")
    func hugeIntegers() throws {
        let value = try JSONValue.parse(#"{"a":1000000000000000019884624838656,"b":7,"c":0.5}"#)
        #expect(value["a"] == .real(1e30))
        #expect(value["b"] == .integer(7))
        #expect(value["c"] == .real(0.5))
        let packed = try Document.parse(messagePack: [0x81, 0xA1, 0x61, 0xCF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF])
        #expect(packed.root["a"]?.doubleValue == 0x1p64)
        #expect(packed.root["a"]?.integerValue == nil)
    }

    @Test("U+0000 within a string is kept where asked")
    func nul() throws {
        #expect(try JSONValue.parse(#"["a\u0000b"]"#) == .array([.string("a\0b")]))
        #expect(throws: DocumentError.self) { try JSONValue.parse(#"["a\u0000b"]"#, refuseNUL: true) }
    }

    @Test(
        "integers of every MessagePack width read back",
        arguments: [
            0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 32, .max, -1, -32, -33, -128, -129, -32_768, -32_769, -2_147_483_648, -2_147_483_649, .min,
        ] as [Int64])
    func widths(value: Int64) throws {
        var writer = MessagePackWriter()
        writer.int(value)
        #expect(try Document.parse(messagePack: writer.bytes).root.integerValue == value)
    }

    @Test("strings and lists of every MessagePack width read back", arguments: [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536])
    func lengths(count: Int) throws {
        var writer = MessagePackWriter()
        writer.beginArray(count)
        for _ in 0..<count { writer.null() }
        #expect(try Document.parse(messagePack: writer.bytes).root.count == count)
        writer = MessagePackWriter()
        writer.string(String(repeating: "é", count: count))
        #expect(try Document.parse(messagePack: writer.bytes).root.stringValue?.utf8.count == 2 * count)
        writer = MessagePackWriter()
        writer.binary([UInt8](repeating: 7, count: count))
        #expect(try Document.parse(messagePack: writer.bytes).root.binaryValue?.count == count)
    }

    @Test("a random value survives both encodings", arguments: 1...20)
    func property(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<100 {
            let value = randomValue(depth: 0, &generator)
            #expect(try JSONValue.parse(value.serialised) == value, "seed \(seed)")
            var writer = MessagePackWriter()
            value.write(to: &writer)
            let packed = try Document.parse(messagePack: writer.bytes, allowNUL: true)
            #expect(JSONValue(packed.root) == value, "seed \(seed)")
            var transcoded = MessagePackWriter()
            transcoded.raw(json: value.serialised)
            #expect(try JSONValue(Document.parse(messagePack: transcoded.bytes, allowNUL: true).root) == value, "seed \(seed)")
        }
    }

    @Test("no bytes make the parsers crash", arguments: 1...8)
    func fuzz(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        for _ in 0..<4000 {
            var writer = MessagePackWriter()
            let value = randomValue(depth: 0, &generator)
            value.write(to: &writer)
            for source in [writer.bytes, value.serialised] {
                let bytes = mutated(source, &generator)
                if let document = try? Document.parse(payload: bytes) { _ = document.root.canonical }
                if let document = try? Document.parse(messagePack: bytes) { _ = document.root.canonical }
            }
        }
    }

    private func mutated(_ source: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
        var bytes = source
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let place = Int.random(in: 0...bytes.count, using: &generator)
            switch Int.random(in: 0..<4, using: &generator) {
            case 0 where place < bytes.count: bytes[place] = UInt8.random(in: 0...255, using: &generator)
            case 1 where place < bytes.count: bytes.remove(at: place)
            case 2: bytes.insert(UInt8.random(in: 0...255, using: &generator), at: place)
            default: bytes.removeSubrange(place...)
            }
        }
        return bytes
    }

    private func randomValue(depth: Int, _ generator: inout SeededGenerator) -> JSONValue {
        switch Int.random(in: 0..<(depth < 4 ? 8 : 6), using: &generator) {
        case 0: .null
        case 1: .bool(.random(using: &generator))
        case 2: .integer(Int64.random(in: .min ... .max, using: &generator) >> Int64.random(in: 0..<64, using: &generator))
        case 3: .real(Double.random(in: -1...1, using: &generator) + 2.5)
        case 4, 5: .string(randomText(&generator))
        case 6: .array((0..<Int.random(in: 0..<5, using: &generator)).map { _ in randomValue(depth: depth + 1, &generator) })
        default: .object(randomObject(depth: depth, &generator))
        }
    }

    private func randomObject(depth: Int, _ generator: inout SeededGenerator) -> JSONObject {
        var object = JSONObject()
        for place in 0..<Int.random(in: 0..<22, using: &generator) { object["k\(place)"] = randomValue(depth: depth + 1, &generator) }
        return object
    }

    private func randomText(_ generator: inout SeededGenerator) -> String {
        String(
            (0..<Int.random(in: 0..<12, using: &generator)).map { _ in
                ["a", "\"", "\\", "\n", "é", "€", "😀", "\u{1F}", " "].randomElement(using: &generator)!
            })
    }
}

@Suite("objects")
struct JSONObjectTests {
    @Test("members keep their order, small and large", arguments: [0, 1, 16, 17, 18, 100])
    func order(count: Int) {
        var object = JSONObject()
        for place in (0..<count).reversed() { object["k\(place)"] = .integer(Int64(place)) }
        #expect(object.keys == (0..<count).reversed().map { "k\($0)" })
        #expect((0..<count).allSatisfy { object["k\($0)"] == .integer(Int64($0)) })
        #expect(object["absent"] == nil)
    }

    @Test("setting nil removes, also across the size where the index begins")
    func removal() {
        var object = JSONObject()
        for place in 0..<20 { object["k\(place)"] = .integer(Int64(place)) }
        for place in stride(from: 0, to: 20, by: 2) { object["k\(place)"] = nil }
        #expect(object.keys == stride(from: 1, to: 20, by: 2).map { "k\($0)" })
        #expect(object["k3"] == 3)
        for place in 20..<40 { object["k\(place)"] = .integer(Int64(place)) }
        #expect(object["k39"] == 39 && object["k19"] == 19 && object["k0"] == nil)
        object["k19"] = "new"
        #expect(object["k19"] == "new" && object.count == 30)
    }
}

@Suite("SHA-256")
struct SHA256Tests {
    @Test(
        "FIPS 180-4's examples",
        arguments: [
            ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            ("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
        ])
    func examples(text: String, digest: String) {
        #expect(SHA256Digest.hex(of: Array(text.utf8)) == digest)
        var pieces = SHA256Digest()
        for byte in text.utf8 { pieces.update([byte]) }
        #expect(hexString(pieces.finish()) == digest)
    }

    @Test("a file has the digest of its bytes, and one that is missing is named")
    func files() throws {
        let path = Fixtures.reference + "/corpus.txt"
        #expect(try SHA256Digest.hex(ofFile: path) == SHA256Digest.hex(of: Fixtures.bytes("corpus.txt")))
        #expect(throws: FileReadError(path: "/nowhere/at-all", errno: 2)) { try SHA256Digest.hex(ofFile: "/nowhere/at-all") }
    }

    @Test("hexadecimal digits and bytes are each other's inverse")
    func hex() {
        #expect(bytes(fromHex: "00fFa0") == [0, 255, 160])
        #expect(hexString([0, 255, 160]) == "00ffa0")
        #expect(bytes(fromHex: "0") == nil && bytes(fromHex: "0g") == nil)
    }
}
