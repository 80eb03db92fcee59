import Client
import Encodings
import FoundationEssentials
import Glibc
import Messaging
import TestSupport
import Testing

/// A client with CURVE keys before brokers that let in some, and not others. Silence lasts a minute here, so whatever fails sooner was told.
@Suite("client keys", .serialized, .timeLimit(.minutes(1)))
struct ClientKeyTests {
    private let folder: TemporaryDirectory
    private let server: CurveKeyPair
    private let client: CurveKeyPair

    init() throws {
        folder = try TemporaryDirectory()
        (server, client) = (try .generate(), try .generate())
        try CurveKeyFile.write(client, to: folder.path + "/client.key")
    }

    private func broker(letsIn keys: Set<CurvePublicKey> = [], files: [String] = []) throws -> (ScriptedBroker, AccessControl) {
        let access = try AccessControl([.init(domains: ["tasks"], files: files, keys: keys)])
        return (try ScriptedBroker(keys: .init(pair: server, access: access)) { _, _ in [["version": "9"]] }, access)
    }

    private func options(serverKey: CurvePublicKey? = nil, hasKeys: Bool = true) throws -> ClientOptions {
        var options = ClientOptions()
        options.silence = .seconds(60)
        options.patience = .seconds(30)
        if hasKeys { options.keys = try ClientKeys(file: folder.path + "/client.key", serverKeys: [(serverKey ?? server.publicKey).text]) }
        return options
    }

    private func refusal(_ client: ScriptoriumClient) async -> (endpoint: String, message: String)? {
        do throws(ClientError) {
            _ = try await client.ping()
            return nil
        } catch {
            guard case .keyRefused(let endpoint, let message) = error, error.isServiceAway else { return ("", "\(error)") }
            return (endpoint, message)
        }
    }

    @Test("a listed key is served")
    func served() async throws {
        let (broker, _) = try broker(letsIn: [client.publicKey])
        #expect(try await ScriptoriumClient(brokers: [broker.endpoint], options: options()).ping().version == "9")
    }

    @Test("a key that is not listed ends the call with a sentence that names key and endpoint")
    func notListed() async throws {
        let (broker, _) = try broker()
        let found = await refusal(try ScriptoriumClient(brokers: [broker.endpoint], options: options()))
        #expect(found?.endpoint == broker.endpoint)
        #expect(found?.message.contains(client.publicKey.fingerprint) == true && found?.message.contains("--curve-clients") == true)
        #expect(broker.requests.isEmpty)
    }

    @Test("a wrong server key, no keys where some are wanted, and keys where none are known are told apart")
    func mistakes() async throws {
        let (broker, _) = try broker(letsIn: [client.publicKey])
        let misled = try ScriptoriumClient(brokers: [broker.endpoint], options: options(serverKey: client.publicKey))
        #expect(await refusal(misled)?.message.contains("--curve-server-key") == true)
        let keyless = try ScriptoriumClient(brokers: [broker.endpoint], options: options(hasKeys: false))
        #expect(await refusal(keyless)?.message.contains("takes CURVE keys only") == true)
        let open = try ScriptedBroker { _, _ in [[:]] }
        let keyed = try ScriptoriumClient(brokers: [open.endpoint], options: options())
        #expect(await refusal(keyed)?.message.contains("has no CURVE keys") == true)
        #expect(broker.requests.isEmpty && open.requests.isEmpty)
    }

    @Test("where one broker refuses, the next is asked; where all do, the call ends")
    func severalBrokers() async throws {
        let ((closed, _), (open, _)) = (try broker(), try broker(letsIn: [client.publicKey]))
        let both = try ScriptoriumClient(brokers: [closed.endpoint, open.endpoint], options: options())
        for _ in 0..<3 { #expect(try await both.ping().version == "9") }
        let (other, _) = try broker()
        let neither = try ScriptoriumClient(brokers: [closed.endpoint, other.endpoint], options: options())
        #expect(await refusal(neither)?.endpoint == other.endpoint)
    }

    @Test("a refused client is served once its key is listed, without being made anew")
    func listedLater() async throws {
        let list = folder.path + "/clients.keys"
        try Data().write(to: URL(filePath: list))
        let (broker, access) = try broker(files: [list])
        let client = try ScriptoriumClient(brokers: [broker.endpoint], options: options())
        #expect(await refusal(client) != nil)
        try Data((self.client.publicKey.text + "\n").utf8).write(to: URL(filePath: list))
        access.reload()
        while await refusal(client) != nil { try await Task.sleep(for: .milliseconds(10)) }
        #expect(broker.requests.count == 1)
    }

    @Test("an exposed key file, a word that is no key and a wrong number of server keys are found before anything is sent")
    func broken() throws {
        let file = folder.path + "/client.key"
        #expect(throws: ClientError.self) { try ClientKeys(file: file, serverKeys: ["no key"]) }
        let keys = try ClientKeys(file: file, serverKeys: [server.publicKey.text, client.publicKey.text])
        var options = ClientOptions()
        options.keys = keys
        #expect(throws: ClientError.self) { try ScriptoriumClient(brokers: [deadEndpoint], options: options) }
        _ = try ScriptoriumClient(brokers: [deadEndpoint, deadEndpoint], options: options)
        #expect(chmod(file, 0o644) == 0)
        #expect(throws: ClientError.self) { try ClientKeys(file: file, serverKeys: [server.publicKey.text]) }
    }
}
