import Diagnosis
import FoundationEssentials
import Glibc
import Messaging
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct KeyCheckTests {
    private let folder: TemporaryDirectory
    private let pair: CurveKeyPair

    init() throws {
        folder = try TemporaryDirectory()
        pair = try .generate()
    }

    private func write(_ text: String, _ name: String, mode: mode_t = 0o644) throws -> String {
        let path = folder.path + "/" + name
        try Data(text.utf8).write(to: URL(filePath: path))
        #expect(chmod(path, mode) == 0)
        return path
    }

    private func verdict(_ check: any Check) -> Finding.Verdict? { check.findings().first?.verdict }

    @Test("a secret key is fine, exposed, damaged or not there")
    func secret() throws {
        let path = folder.path + "/k"
        try CurveKeyFile.write(pair, to: path)
        #expect(SecretKeyCheck(path: path).findings() == [.ok("secret key", "\(path): \(pair.publicKey.fingerprint)")])
        #expect(chmod(path, 0o640) == 0)
        #expect(verdict(SecretKeyCheck(path: path)) == .fail && SecretKeyCheck(path: path).findings()[0].found.contains("chmod 600"))
        #expect(verdict(SecretKeyCheck(path: try write("x", "x", mode: 0o600))) == .fail)
        #expect(verdict(SecretKeyCheck(path: folder.path + "/absent")) == .fail)
    }

    @Test("a list is fine, empty, open to others' pens, or malformed")
    func lists() throws {
        func check(_ path: String) -> Finding.Verdict? { verdict(KeyListCheck(flag: "--curve-clients", path: path)) }
        #expect(check(try write(pair.publicKey.text + " me\n", "good")) == .ok)
        #expect(check(try write("# nobody\n", "empty")) == .warn)
        #expect(check(try write(pair.publicKey.text, "writable", mode: 0o664)) == .warn)
        let bad = KeyListCheck(flag: "--curve-clients", path: try write("\nx\n", "bad")).findings()
        #expect(bad[0].verdict == .fail && bad[0].found.contains("line 2"))
        #expect(check(folder.path + "/absent") == .fail)
    }

    @Test("a key in both lists is warned of")
    func roles() throws {
        let other = try CurveKeyPair.generate().publicKey.text
        let (clients, workers) = (try write(pair.publicKey.text, "c"), try write(other, "w"))
        #expect(verdict(SeparateRolesCheck(clients: [clients], workers: [workers])) == .ok)
        #expect(verdict(SeparateRolesCheck(clients: [clients, workers], workers: [workers])) == .warn)
        #expect(SeparateRolesCheck(clients: [], workers: [workers]).findings().isEmpty)
    }

    @Test("endpoints beyond loopback want keys")
    func reach() {
        func check(_ endpoint: String, keys: Bool = false, insecure: Bool = false) -> Finding.Verdict? {
            verdict(ReachCheck(endpoints: ["tcp://127.0.0.1:1", endpoint], hasKeys: keys, isInsecureAllowed: insecure))
        }
        #expect(check("tcp://127.0.0.1:2") == .ok)
        #expect(check("tcp://*:2") == .fail)
        #expect(check("tcp://*:2", keys: true) == .ok)
        #expect(check("tcp://*:2", insecure: true) == .warn)
    }
}

/// The doors of a broker that the test plays.
@Suite(.serialized, .timeLimit(.minutes(1))) struct DoorCheckTests {
    private let server: CurveKeyPair
    private let client: CurveKeyPair

    init() throws { (server, client) = (try .generate(), try .generate()) }

    /// Answers each message at a door with a payload, until the check is done.
    private func findings(
        _ door: DoorCheck.Door, answer: String, letsIn: Set<CurvePublicKey>, security: SocketSecurity, patience: Int64 = 3_000
    ) throws -> [Finding] {
        let context = try ZMQContext()
        let authenticator = try Authenticator(context, try AccessControl([.init(domains: ["door"], keys: letsIn)]), domains: []) { _ in }
        defer { authenticator.stop() }
        var options = SocketOptions()
        options.security = .server(server, domain: "door")
        let isRouter = door == .tasks || door == .workers
        let socket = try Socket(context, isRouter ? .router : .extendedPublisher, options)
        let check = DoorCheck(door, endpoint: try socket.bind("tcp://127.0.0.1:*"), security: security, patience: patience)
        let found = Mutex<[Finding]>([])
        let done = try Wakeup()
        let thread = try ServiceThread(name: "check") {
            let findings = check.findings()
            found.withLock { $0 = findings }
            done.signal()
        }
        var poller = Poller()
        let end = poller.add(done)
        poller.add(socket)
        while !poller.isReadable(end) {
            try poller.wait(milliseconds: 100)
            while let message = try socket.receive() {
                if isRouter, !answer.isEmpty { _ = try socket.send([message.frames[0], Array(answer.utf8)]) }
            }
        }
        thread.join()
        return found.withLock { $0 }
    }

    private var shown: SocketSecurity { .client(client, server: server.publicKey) }
    private static let pong = #"{"re":1,"ok":true,"version":"7","durability":{"synchronous_commit":"on"}}"#

    @Test("an open door says who answers", arguments: [DoorCheck.Door.tasks, .events, .workers, .peers])
    func open(door: DoorCheck.Door) throws {
        let found = try findings(door, answer: Self.pong, letsIn: [client.publicKey], security: shown)
        #expect(found.map(\.verdict) == [.ok] && found[0].found.contains(client.publicKey.fingerprint))
        #expect(door != .tasks || found[0].found.contains("version 7"))
    }

    @Test("a refused key, no key and a wrong server key are told apart")
    func closed() throws {
        let refused = try findings(.workers, answer: "", letsIn: [], security: shown)
        #expect(refused.map(\.verdict) == [.fail] && refused[0].found.contains("refused the key"))
        let keyless = try findings(.tasks, answer: Self.pong, letsIn: [], security: .none)
        #expect(keyless.map(\.verdict) == [.fail])
        let misled = try findings(.events, answer: "", letsIn: [client.publicKey], security: .client(client, server: client.publicKey))
        #expect(misled.map(\.verdict) == [.fail] && misled[0].found.contains("--curve-server-key"))
    }

    @Test("who is no broker, hangs, or has lost its database is told apart")
    func behind() throws {
        func check(_ answer: String, patience: Int64 = 3_000) throws -> Finding? {
            try findings(.tasks, answer: answer, letsIn: [client.publicKey], security: shown, patience: patience).first
        }
        #expect(try check("hello")?.found.contains("is no broker") == true)
        #expect(try check("", patience: 500)?.found.contains("does not answer") == true)
        #expect(try check(#"{"re":1,"ok":true,"version":"7","durability":{"synchronous_commit":null}}"#)?.verdict == .warn)
    }

    @Test("where nobody listens, and where no endpoint is named, the check says so")
    func nobody() {
        let absent = DoorCheck(.tasks, endpoint: "tcp://127.0.0.1:1", patience: 300).findings()
        #expect(absent.map(\.verdict) == [.fail] && absent[0].found.contains("nobody answers"))
        #expect(DoorCheck(.tasks, endpoint: "nonsense", patience: 300).findings().map(\.verdict) == [.fail])
    }
}
