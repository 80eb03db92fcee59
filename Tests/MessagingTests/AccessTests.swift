import FoundationEssentials
import Glibc
import Messaging
import TestSupport
import Testing

private func frames(_ domain: String, _ mechanism: String = "CURVE", key: [UInt8]?, version: String = "1.0") -> [[UInt8]] {
    [Array(version.utf8), [7], Array(domain.utf8), Array("10.0.0.9".utf8), [], Array(mechanism.utf8)] + (key.map { [$0] } ?? [])
}

/// The 32 bytes of a key, by way of a list that libzmq's own Z85 reads.
private func bytes(_ key: CurvePublicKey) throws -> [UInt8] {
    var found: [UInt8] = []
    for group in 0..<8 {
        let characters = Array(key.text.utf8)[group * 5..<group * 5 + 5]
        let alphabet = Array("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#".utf8)
        let value = try characters.reduce(UInt32(0)) { $0 &* 85 &+ UInt32(try #require(alphabet.firstIndex(of: $1))) }
        found += (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) }
    }
    return found
}

@Suite struct AccessPolicyTests {
    private let client: CurvePublicKey
    private let worker: CurvePublicKey
    private let stranger: CurvePublicKey
    private let policy: AccessPolicy

    init() throws {
        (client, worker) = (try CurveKeyPair.generate().publicKey, try CurveKeyPair.generate().publicKey)
        stranger = try CurveKeyPair.generate().publicKey
        policy = AccessPolicy(["tasks": [client], "workers": [worker], "peers": []])
    }

    private func decide(_ domain: String, _ key: CurvePublicKey) throws -> AccessDecision {
        policy.decide(try #require(ZAPRequest(frames(domain, key: try bytes(key))[...])))
    }

    @Test("a listed key is let in, by its own endpoint only")
    func decisions() throws {
        #expect(try decide("tasks", client) == .granted(client))
        #expect(try decide("workers", worker) == .granted(worker))
        #expect(try decide("workers", client) == .refused(.otherRole))
        #expect(try decide("tasks", worker) == .refused(.otherRole))
        #expect(try decide("peers", worker) == .refused(.otherRole))
        #expect(try decide("tasks", stranger) == .refused(.unknownKey))
        #expect(try decide("elsewhere", client) == .refused(.unknownDomain))
        #expect(try decide("", client) == .refused(.unknownDomain))
    }

    @Test("without CURVE nobody is let in, whatever else is shown")
    func otherMechanisms() throws {
        for request in [
            frames("tasks", "NULL", key: nil), frames("tasks", "PLAIN", key: try bytes(client)), frames("tasks", key: nil),
            frames("tasks", key: Array(try bytes(client).dropLast())), frames("tasks", key: try bytes(client)) + [[1]],
        ] {
            #expect(policy.decide(try #require(ZAPRequest(request[...]))) == .refused(.noKey))
        }
    }

    @Test("what is no request of version 1.0 gets no decision")
    func malformed() throws {
        let whole = frames("tasks", key: try bytes(client))
        for count in 0..<6 { #expect(ZAPRequest(whole.prefix(count)) == nil) }
        #expect(ZAPRequest(frames("tasks", key: try bytes(client), version: "2.0")[...]) == nil)
    }

    @Test("the answer names the key as the user, a refusal names nobody")
    func replies() throws {
        let request = try #require(ZAPRequest(frames("tasks", key: try bytes(client))[...]))
        #expect(request.address == "10.0.0.9" && request.key == client)
        let granted = request.reply(.granted(client)).map { String(decoding: $0, as: UTF8.self) }
        #expect(granted == ["1.0", "\u{7}", "200", "OK", client.text, ""])
        let refused = request.reply(.refused(.unknownKey))
        #expect(refused.count == 6 && refused[2] == Array("400".utf8) && refused[4].isEmpty && refused[5].isEmpty)
    }
}

@Suite struct NoteLimiterTests {
    @Test("one cause is told once in the pause, and what was held back is counted")
    func oneCause() {
        var limiter = NoteLimiter(pause: 1_000, burst: 10)
        #expect(limiter.admit("a", now: 0) == 0)
        for time in 1..<10 { #expect(limiter.admit("a", now: Int64(time)) == nil) }
        #expect(limiter.admit("b", now: 20) == 9)
        #expect(limiter.admit("a", now: 999) == nil)
        #expect(limiter.admit("a", now: 1_000) == 1)
    }

    @Test("ever new causes do not pass the burst either")
    func manyCauses() {
        var limiter = NoteLimiter(pause: 1_000, burst: 5)
        var told = 0
        for number in 0..<10_000 where limiter.admit("\(number)", now: Int64(number)) != nil { told += 1 }
        #expect(told == 50)
    }
}

@Suite struct HandshakeJudgeTests {
    private let key: CurvePublicKey
    init() throws { key = try CurveKeyPair.generate().publicKey }

    @Test("a refusal and another mechanism are certain at once")
    func certain() {
        var judge = HandshakeJudge(endpoint: "tcp://b:1", key: key)
        #expect(judge.take(.failed(.refused), now: 0) == KeyRefusal(endpoint: "tcp://b:1", key: key, reason: .notListed))
        #expect(judge.take(.failed(.otherMechanism), now: 0)?.reason == .keysUnknown)
        var keyless = HandshakeJudge(endpoint: "tcp://b:1", key: nil)
        #expect(keyless.take(.failed(.otherMechanism), now: 0)?.reason == .keysWanted)
    }

    @Test("cut handshakes are the keys' fault only when they go on, and a success forgives them")
    func cut() {
        var judge = HandshakeJudge(endpoint: "e", key: key)
        for time in stride(from: Int64(0), to: 2_000, by: 100) { #expect(judge.take(.failed(.cut), now: time) == nil) }
        #expect(judge.take(.failed(.cut), now: 2_000)?.reason == .wrongServerKey)
        #expect(judge.take(.succeeded, now: 2_100) == nil)
        #expect(judge.take(.failed(.cut), now: 2_200) == nil)
        var keyless = HandshakeJudge(endpoint: "e", key: nil)
        for time in stride(from: Int64(0), to: 9_000, by: 100) { #expect(keyless.take(.failed(.cut), now: time) == nil) }
    }

    @Test("every refusal says the endpoint, the key, and what to do")
    func sentences() {
        for reason in [KeyRefusal.Reason.notListed, .keysUnknown, .wrongServerKey] {
            let text = KeyRefusal(endpoint: "tcp://b:1", key: key, reason: reason).description
            #expect(text.contains("tcp://b:1") && text.contains(key.fingerprint) && text.contains("--curve-"))
        }
        #expect(KeyRefusal(endpoint: "e", key: nil, reason: .keysWanted).description.contains("--curve-server-key"))
    }
}
