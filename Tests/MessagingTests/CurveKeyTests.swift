import Messaging
import TestSupport
import Testing

/// The pair of the CurveZMQ examples in zmq_curve(7).
private let publicText = "Yne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID"
private let secretText = "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

@Suite struct CurveKeyTests {
    @Test("the public key follows from the secret one")
    func derived() throws {
        #expect(CurveKeyPair.isSupported)
        #expect(CurveKeyPair(secret: secretText)?.publicKey.text == publicText)
        let (one, two) = (try CurveKeyPair.generate(), try CurveKeyPair.generate())
        #expect(one != two && one.publicKey != two.publicKey)
    }

    @Test(
        "what is not 40 characters of Z85 is no key",
        arguments: [
            "", "Yne@", String(publicText.dropLast()), publicText + "a", "\"ne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID",
            " ne@$w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", "#####w-vo<fVvi]a<NY6T1ed:M$fCG*[IaLV{hID", String(repeating: "é", count: 20),
            String(repeating: "\u{0}", count: 40),
        ])
    func noKeys(text: String) {
        #expect(CurvePublicKey(text) == nil)
        #expect(CurveKeyPair(secret: text) == nil)
    }

    @Test("a pair never shows its secret half by accident")
    func quiet() throws {
        let pair = try #require(CurveKeyPair(secret: secretText))
        for text in ["\(pair)", String(reflecting: pair), "\(SocketSecurity.server(pair, domain: "d"))", "\([pair])"] {
            #expect(!text.contains(secretText) && text.contains("Yne@$w-vo<"))
        }
    }

    @Test("credentials hold one key for all brokers, or one each, and none for a stranger's endpoint")
    func credentials() throws {
        let pair = try CurveKeyPair.generate()
        let (a, b) = (try CurveKeyPair.generate().publicKey, try CurveKeyPair.generate().publicKey)
        func server(_ credentials: CurveCredentials?, _ endpoint: String) -> CurvePublicKey? {
            guard case .client(let shown, let server)? = credentials?.security(for: endpoint), shown == pair else { return nil }
            return server
        }
        let one = CurveCredentials(keys: pair, servers: [a], endpoints: ["x", "y"])
        #expect(server(one, "x") == a && server(one, "y") == a && server(one, "z") == a)
        let each = CurveCredentials(keys: pair, servers: [a, b], endpoints: ["x", "y"])
        #expect(server(each, "x") == a && server(each, "y") == b && server(each, "z") == nil)
        #expect(CurveCredentials(keys: pair, servers: [], endpoints: ["x"]) == nil)
        #expect(CurveCredentials(keys: pair, servers: [a, b], endpoints: ["x", "y", "z"]) == nil)
        #expect(server(CurveCredentials(keys: pair, server: b), "anything") == b)
    }

    @Test("what is learned of a broker may be learned anew, and the oldest goes where there is too much; what the operator gave stands")
    func learned() throws {
        let pair = try CurveKeyPair.generate()
        let (given, old, new) = (
            try CurveKeyPair.generate().publicKey, try CurveKeyPair.generate().publicKey, try CurveKeyPair.generate().publicKey
        )
        var credentials = try #require(CurveCredentials(keys: pair, servers: [given, given], endpoints: ["x", "y"]))
        func server(_ endpoint: String) -> CurvePublicKey? {
            guard case .client(_, let server)? = credentials.security(for: endpoint) else { return nil }
            return server
        }
        credentials.learn(old, of: "x")
        credentials.learn(old, of: "z")
        #expect(server("x") == given && server("z") == old)
        credentials.learn(new, of: "z")
        #expect(server("z") == new)
        for number in 0..<300 { credentials.learn(old, of: "\(number)") }
        #expect(server("z") == nil && server("299") == old && server("x") == given && server("y") == given)
        credentials = try #require(CurveCredentials(keys: pair, servers: [given], endpoints: ["x", "y"]))
        for endpoint in ["y", "z"] { credentials.learn(new, of: endpoint) }
        #expect(server("x") == given && server("y") == given && server("z") == new && server("elsewhere") == given)
    }
}

@Suite struct KeyListTests {
    private let other = "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"

    @Test("keys, names, comments, blank lines, and the line ends of other systems")
    func parsed() throws {
        let text = "\u{FEFF}# the first rack\r\n\n  \(publicText)\tworker 1  # spare\r\n\(other)   #no name\n#\(other)\n"
        let list = try KeyList(parsing: Array(text.utf8))
        #expect(list.names == [try #require(CurvePublicKey(publicText)): "worker 1", try #require(CurvePublicKey(other)): ""])
        #expect(try KeyList(parsing: []).names.isEmpty)
    }

    @Test("a hash inside a key is part of the key")
    func hash() throws {
        let key = "0000#" + String(publicText.dropFirst(5))
        #expect(try KeyList(parsing: Array("\(key) n".utf8)).keys == [try #require(CurvePublicKey(key))])
    }

    @Test("the first line that is no key is named", arguments: [("x", 1), ("\n\n\(publicText)\nkey = y\nz", 4), ("\(publicText)\n\u{0}", 2)])
    func faults(text: String, line: Int) {
        #expect(throws: KeyList.Fault.self) { try KeyList(parsing: Array(text.utf8)) }
        do { _ = try KeyList(parsing: Array(text.utf8)) } catch { #expect(error.line == line) }
    }

    @Test("any bytes give a list or a fault")
    func anything() {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        var lists = 0
        let alphabet = Array("#\n \r\t\u{0}".utf8) + Array(publicText.utf8)
        for _ in 0..<5_000 {
            let bytes = (0..<Int.random(in: 0..<120, using: &random)).map { _ in alphabet.randomElement(using: &random) ?? 0 }
            if let list = try? KeyList(parsing: bytes) { lists += list.names.count >= 0 ? 1 : 0 }
        }
        #expect(lists > 0, "seed \(seed)")
    }
}
