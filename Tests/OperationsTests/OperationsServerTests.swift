import Glibc
import Logging
import Operations
import ServiceLifecycle
import Synchronization
import Testing

/// One HTTP/1.1 request over a real socket; the answer's text.
private func request(_ line: String, port: Int) -> String {
    let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(handle) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = UInt16(port).bigEndian
    address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
    let connected = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(handle, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard connected == 0 else { return "" }
    let text = Array("\(line) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".utf8)
    _ = send(handle, text, text.count, Int32(MSG_NOSIGNAL))
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = recv(handle, &chunk, chunk.count, 0)
        if count <= 0 { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

@Suite("The HTTP endpoint", .serialized)
struct OperationsServerTests {
    /// Runs a server, hands its port to `body`, and stops it.
    private func withServer(readiness: @escaping @Sendable () -> Readiness, _ body: @escaping @Sendable (Int) async -> Void) async throws {
        let address = try #require(OperationsServer.Address("127.0.0.1:0"))
        let (ports, found) = AsyncStream<Int>.makeStream()
        let server = OperationsServer(
            address: address, logger: Logger(label: "test"), readiness: readiness,
            metrics: { [MetricFamily("scriptorium_queue_depth", .gauge, help: "Waiting tasks.", value: 3)] },
            listening: { found.yield(OperationsServer.Address($0)?.port ?? 0) })
        let group = ServiceGroup(configuration: .init(services: [server], logger: Logger(label: "test")))
        let running = Task { try await group.run() }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        await body(port)
        await group.triggerGracefulShutdown()
        try await running.value
    }

    @Test("health, readiness and metrics are answered")
    func answers() async throws {
        let state = Mutex(Readiness(reasons: ["the database is away"]))
        let shared = Box(state: state)
        try await withServer(readiness: { shared.state.withLock { $0 } }) { port in
            let health = request("GET /healthz", port: port)
            #expect(health.hasPrefix("HTTP/1.1 200") && health.hasSuffix("ok\n"))
            let waiting = request("GET /readyz", port: port)
            #expect(waiting.hasPrefix("HTTP/1.1 503") && waiting.hasSuffix("the database is away\n"))
            shared.state.withLock { $0.reasons = [] }
            #expect(request("GET /readyz", port: port).hasPrefix("HTTP/1.1 200"))
            let metrics = request("GET /metrics", port: port)
            #expect(metrics.contains("text/plain; version=0.0.4") && metrics.contains("\nscriptorium_queue_depth 3\n"))
        }
    }

    @Test("an unknown path is a 404 with a body that says what there is")
    func unknown() async throws {
        try await withServer(readiness: { Readiness() }) { port in
            let answer = request("GET /nothing", port: port)
            #expect(answer.hasPrefix("HTTP/1.1 404") && answer.contains("/healthz, /readyz and /metrics"))
        }
    }

    @Test(
        "addresses are host and port",
        arguments: [
            ("127.0.0.1:5573", "127.0.0.1", 5573), ("0.0.0.0:80", "0.0.0.0", 80), ("localhost:0", "localhost", 0), ("*:*", "0.0.0.0", 0),
            ("[::1]:9", "::1", 9),
        ])
    func addresses(text: String, host: String, port: Int) {
        let address = OperationsServer.Address(text)
        #expect(address?.host == host && address?.port == port)
    }

    @Test("what is no address is none", arguments: ["", "5573", "host:", "host:70000", "host:x", ":1"])
    func noAddress(text: String) { #expect(OperationsServer.Address(text) == nil) }

    private final class Box: Sendable {
        let state: Mutex<Readiness>
        init(state: consuming Mutex<Readiness>) { self.state = state }
    }
}
