import Glibc

/// Fetches files over HTTP: follows redirects without handing the token to another host, tries again what was cut, goes on where it
/// was, and checks what came against the digest that the server announced.
///
/// ```swift
/// let downloader = Downloader(token: nil)
/// let file = try downloader.fetch(try WebAddress("https://hub.example/gpt2/resolve/main/config.json"), to: "config.json")
/// ```
/// Blocks its thread.
package struct Downloader: Sendable {
    private let token: String?
    private let attempts: Int
    private let pauseMilliseconds: Int
    private let followsRedirects: Bool
    private static let maximumRedirects = 5

    /// - Parameters:
    ///   - token: goes to the host that is asked first and to no other.
    ///   - attempts: how often in a row a transfer may bring nothing.
    ///   - pauseMilliseconds: before the second attempt, then twice as long each time.
    ///   - followsRedirects: else a redirect is an answer like any other that is not what was asked for.
    package init(token: String?, attempts: Int = 5, pauseMilliseconds: Int = 500, followsRedirects: Bool = true) {
        self.followsRedirects = followsRedirects
        (self.token, self.attempts, self.pauseMilliseconds) = (token, attempts, pauseMilliseconds)
    }

    /// A small answer, in memory.
    package func bytes(_ address: WebAddress, limit: Int) throws(DownloadError) -> [UInt8] {
        final class Memory { var bytes: [UInt8] = [] }
        return try retrying(address) { () throws(DownloadError) in
            let memory = Memory()
            let (exchange, outcome) = try follow(HTTPExchange.Request(address: address, token: token)) { part, _ in
                guard memory.bytes.count + part.count <= limit else { return false }
                memory.bytes.append(contentsOf: part)
                return true
            }
            switch outcome {
            case .stopped: throw DownloadError.tooLarge(address.text, limit: limit)
            case .failed(let reason): return .again(reason, progressed: false)
            case .answered: return try judge(exchange, address).map { .again($0, progressed: false) } ?? .done(memory.bytes)
            }
        }
    }

    /// A file, under its name only when it is whole and has its digest.
    ///
    /// Until then it grows beside as `PATH.<tag>.part`, tag being the server's name for these very bytes: a transfer that was broken
    /// off goes on there, and one of another version starts anew.
    /// - Parameters:
    ///   - limit: the most bytes to take.
    ///   - progress: is told how many bytes are there, of how many (0: nobody knows).
    package func fetch(
        _ address: WebAddress, to path: String, limit: Int = .max, progress: @escaping (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) throws(DownloadError) -> RemoteFile {
        let remote = try describe(address)
        guard (remote.size ?? 0) <= limit else { throw .tooLarge(address.text, limit: limit) }
        let part = PartialDownload(path: path, tag: remote.tag)
        try part.open(remote)
        defer { part.close() }
        try part.restartUnlessRight(remote)
        try retrying(address) { () throws(DownloadError) in try transfer(address, remote, part, limit, progress) }
        try part.check(remote, address)
        try part.finish()
        return remote
    }

    /// What the server says of a file, without its bytes.
    package func describe(_ address: WebAddress) throws(DownloadError) -> RemoteFile {
        try retrying(address) { () throws(DownloadError) in
            var remote = RemoteFile()
            let (exchange, outcome) = try follow(
                HTTPExchange.Request(address: address, isHead: true, token: token),
                goesOn: {
                    remote.take($0)
                    // Storage that a hub leads to may sign its addresses for GET alone: it is asked no more than is needed.
                    return remote.digest.isEmpty || remote.size == nil
                })
            if case .failed(let reason) = outcome { return .again(reason, progressed: false) }
            // A server may know no HEAD: then the bytes themselves must tell.
            if exchange.isRedirect && !remote.digest.isEmpty || exchange.status == 405 || exchange.status == 501 { return .done(remote) }
            return try judge(exchange, address).map { .again($0, progressed: false) } ?? .done(remote)
        }
    }

    // MARK: Steps

    private enum Step<Value> {
        case done(Value)
        /// Worth trying once more.
        case again(_ reason: String, progressed: Bool)
    }

    private func retrying<Value>(_ address: WebAddress, _ step: () throws(DownloadError) -> Step<Value>) throws(DownloadError) -> Value {
        var failures = 0
        while true {
            switch try step() {
            case .done(let value): return value
            case .again(let reason, let progressed):
                failures = progressed ? 1 : failures + 1
                guard failures < attempts else { throw .unreachable(address.text, reason: reason) }
                usleep(UInt32(pauseMilliseconds << min(failures - 1, 5)) * 1000)
            }
        }
    }

    private func transfer(
        _ address: WebAddress, _ remote: RemoteFile, _ part: PartialDownload, _ limit: Int, _ progress: @escaping (Int, Int) -> Void
    ) throws(DownloadError) -> Step<Void> {
        if let size = remote.size, part.count > size { try part.restart() }
        let start = part.count
        progress(start, remote.size ?? 0)
        if start > 0, start == remote.size { return .done(()) }
        var isFirst = true
        let (exchange, outcome) = try follow(HTTPExchange.Request(address: address, from: start, token: token)) { bytes, exchange in
            if isFirst {
                isFirst = false
                guard part.begin(at: exchange.firstByte) else { return false }
            }
            guard part.append(bytes, limit: remote.size ?? limit) else { return false }
            progress(part.count, remote.size ?? 0)
            return true
        }
        if let failure = part.failure { throw failure }
        if case .stopped = outcome, remote.size == nil, part.isFull { throw .tooLarge(address.text, limit: limit) }
        switch outcome {
        case .stopped: throw .malformed(address.text, reason: "the server sent other bytes than were asked for, or more than it announced")
        case .failed(let reason): return .again(reason, progressed: part.count > start)
        case .answered: break
        }
        if exchange.status == 416 {
            // What is there is not a beginning of what the server has now.
            try part.restart()
            return .again("the server has nothing from byte \(start) on", progressed: false)
        }
        if let reason = try judge(exchange, address) { return .again(reason, progressed: false) }
        if isFirst, exchange.status == 200 { try part.restart() }
        guard let size = remote.size, part.count < size else { return .done(()) }
        return .again("it ended after \(part.count) of \(size) bytes", progressed: part.count > start)
    }

    /// Follows redirects; the token stays with the host that was asked.
    /// - Parameter goesOn: is shown each answer; false ends it there.
    private func follow(
        _ request: HTTPExchange.Request, body: @escaping HTTPExchange.Body = { _, _ in true }, goesOn: (HTTPExchange) -> Bool = { _ in true }
    ) throws(DownloadError) -> (HTTPExchange, HTTPExchange.Outcome) {
        var request = request
        for _ in 0...Self.maximumRedirects {
            let (exchange, outcome) = HTTPExchange.run(request, body)
            guard goesOn(exchange), followsRedirects, case .answered = outcome, exchange.isRedirect, let location = exchange.headers["location"]
            else {
                return (exchange, outcome)
            }
            let next = try request.address.following(location)
            if !next.hasSameOrigin(as: request.address) { request.token = nil }
            request.address = next
        }
        throw .malformed(request.address.text, reason: "is redirected more than \(Self.maximumRedirects) times")
    }

    /// Nil where the answer is what was asked for; a reason where it may be tomorrow.
    private func judge(_ exchange: HTTPExchange, _ address: WebAddress) throws(DownloadError) -> String? {
        switch exchange.status {
        case 200, 206: return nil
        case 404, 410: throw .notFound(address.text)
        case 401, 403: throw .denied(address.text, status: exchange.status)
        case 408, 429, 500...599: return "the server answers with status \(exchange.status)"
        default: throw .refused(address.text, status: exchange.status)
        }
    }
}

extension HTTPExchange {
    var isRedirect: Bool { [301, 302, 303, 307, 308].contains(status) }

    /// The place of the body's first byte in the file: of `Content-Range: bytes 100-199/200` 100; nil where it makes no sense.
    var firstByte: Int? {
        guard status == 206 else { return 0 }
        guard let range = headers["content-range"], range.hasPrefix("bytes ") else { return nil }
        return Int(range.dropFirst(6).prefix { $0.isNumber })
    }
}
