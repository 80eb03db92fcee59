import Messaging
import Testing

@Suite struct ListeningTests {
    @Test(
        "loopback addresses and names are loopback",
        arguments: ["tcp://127.0.0.1:5570", "tcp://127.9.8.7:*", "tcp://[::1]:1", "tcp://localhost:5570", "127.0.0.1:80", "inproc://x"])
    func loopback(endpoint: String) throws {
        #expect(Listening.isLoopback(endpoint))
        try Listening.check(endpoint)
    }

    @Test(
        "an endpoint that listens at every address is reached at loopback, any other as it stands",
        arguments: [
            ("tcp://*:5572", "tcp://127.0.0.1:5572"), ("tcp://0.0.0.0:5572", "tcp://127.0.0.1:5572"), ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "127.0.0.1:80"), ("tcp://10.0.0.1:5572", "tcp://10.0.0.1:5572"), ("ipc:///run/a", "ipc:///run/a"),
            ("tcp://10.0.0.0:1", "tcp://10.0.0.0:1"), ("", ""),
        ])
    func reachable(endpoint: String, from: String) { #expect(Listening.reachable(endpoint) == from) }

    @Test(
        "everything else is open to strangers",
        arguments: [
            "tcp://*:5570", "tcp://0.0.0.0:5570", "tcp://10.0.0.1:1", "tcp://[::]:1", "tcp://no.such.name.invalid:1", "tcp://:1", "nonsense", "",
        ])
    func open(endpoint: String) throws {
        #expect(!Listening.isLoopback(endpoint))
        #expect(throws: MessagingError.self) { try Listening.check(endpoint) }
        try Listening.check(endpoint, isInsecureAllowed: true)
        try Listening.check(endpoint, hasKeys: true)
    }
}
