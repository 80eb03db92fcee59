import ArgumentParser
import Glibc
import Operations

/// `scriptorium health`: what a container's health check runs.
struct HealthCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "health", abstract: "Ask a broker or worker on this machine whether it is alive (or, with --ready, able to take work).")

    @Option(help: ArgumentHelp("The HTTP endpoint to ask.", valueName: "host:port"))
    var http = "127.0.0.1:5573"

    @Flag(help: "Ask for /readyz instead of /healthz.")
    var ready = false

    func run() throws {
        guard let address = OperationsServer.Address(http) else { throw CommandFailure.usage("--http: \(http) is not host:port") }
        let host = address.host == "0.0.0.0" ? "127.0.0.1" : address.host
        guard let answer = LoopbackHTTP.get(ready ? "/readyz" : "/healthz", host: host, port: address.port) else {
            throw CommandFailure.unavailable("nothing answers at \(host):\(address.port)")
        }
        print(answer.body.split(separator: "\n").joined(separator: "; "))
        guard answer.status == 200 else { throw CommandFailure.failed("status \(answer.status)") }
    }
}

/// One GET over a plain socket: all that a health check needs.
enum LoopbackHTTP {
    /// - Returns: nil where nobody answers within three seconds.
    static func get(_ path: String, host: String, port: Int) -> (status: Int, body: String)? {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, String(port), &hints, &found) == 0, let entry = found?.pointee else { return nil }
        defer { freeaddrinfo(found) }
        let handle = socket(entry.ai_family, entry.ai_socktype, entry.ai_protocol)
        guard handle >= 0 else { return nil }
        defer { close(handle) }
        var limit = timeval(tv_sec: 3, tv_usec: 0)
        setsockopt(handle, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(handle, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        guard connect(handle, entry.ai_addr, entry.ai_addrlen) == 0 else { return nil }
        let request = Array("GET \(path) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n".utf8)
        guard send(handle, request, request.count, Int32(MSG_NOSIGNAL)) == request.count else { return nil }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16384)
        while true {
            let count = recv(handle, &chunk, chunk.count, 0)
            if count <= 0 { break }
            bytes += chunk[..<count]
        }
        let text = String(decoding: bytes, as: UTF8.self)
        let words = text.prefix { $0 != "\r\n" && $0 != "\n" }.split(separator: " ")
        guard words.count > 1, let status = Int(words[1]), let blank = text.firstRange(of: "\r\n\r\n") else { return nil }
        return (status, String(text[blank.upperBound...]))
    }
}
