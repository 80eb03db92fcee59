import CCurl
import Glibc

/// One request and its answer, over libcurl, on the calling thread. Redirects are not followed here.
final class HTTPExchange {
    /// What to ask for.
    struct Request {
        var address: WebAddress
        /// Ask for the headers alone.
        var isHead = false
        /// The first byte wanted; 0: all of it, without a Range header.
        var from = 0
        var token: String?
    }

    /// Takes the body's bytes, which come only under status 200 and 206; false ends the exchange.
    typealias Body = (_ bytes: UnsafeRawBufferPointer, _ exchange: HTTPExchange) -> Bool

    private(set) var status = 0
    /// Of the last answer, names in lower case.
    private(set) var headers: [String: String] = [:]
    private let body: Body
    private var isStopped = false

    private init(_ body: @escaping Body) { self.body = body }

    /// What came of it.
    enum Outcome {
        case answered
        /// The body was refused by ``Body``.
        case stopped
        /// The connection failed or was cut; libcurl's words.
        case failed(String)
    }

    static func run(_ request: Request, _ body: @escaping Body = { _, _ in true }) -> (exchange: HTTPExchange, outcome: Outcome) {
        let exchange = HTTPExchange(body)
        return (exchange, exchange.perform(request))
    }

    /// libcurl's set-up, once a process, before any handle.
    private static let isReady = curl_global_init(Int(CURL_GLOBAL_DEFAULT)) == CURLE_OK

    private func perform(_ request: Request) -> Outcome {
        guard Self.isReady, let handle = curl_easy_init() else { return .failed("libcurl does not start") }
        defer { curl_easy_cleanup(handle) }
        var lines: UnsafeMutablePointer<curl_slist>?
        if let token = request.token { lines = curl_slist_append(nil, "Authorization: Bearer " + token) }
        defer { curl_slist_free_all(lines) }
        var message = [CChar](repeating: 0, count: Int(CURL_ERROR_SIZE))
        let result = message.withUnsafeMutableBufferPointer { buffer in
            curl_set_pointer(handle, CURLOPT_ERRORBUFFER, buffer.baseAddress)
            setUp(handle, request, lines)
            // The buffer lives no longer than this closure.
            defer { curl_set_pointer(handle, CURLOPT_ERRORBUFFER, nil) }
            return curl_easy_perform(handle)
        }
        if isStopped { return .stopped }
        guard result != CURLE_OK else { return .answered }
        let told = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return .failed(told.isEmpty ? String(cString: curl_easy_strerror(result)) : told)
    }

    private func setUp(_ handle: UnsafeMutableRawPointer, _ request: Request, _ lines: UnsafeMutablePointer<curl_slist>?) {
        curl_set_text(handle, CURLOPT_URL, request.address.text)
        curl_set_text(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        curl_set_number(handle, CURLOPT_FOLLOWLOCATION, 0)
        curl_set_number(handle, CURLOPT_NOSIGNAL, 1)
        curl_set_number(handle, CURLOPT_CONNECTTIMEOUT, 20)
        // A connection that brings nothing for half a minute is as good as cut.
        curl_set_number(handle, CURLOPT_LOW_SPEED_LIMIT, 1)
        curl_set_number(handle, CURLOPT_LOW_SPEED_TIME, 30)
        curl_set_text(handle, CURLOPT_USERAGENT, "scriptorium")
        if request.address.isLoopback { curl_set_text(handle, CURLOPT_NOPROXY, "*") }
        if request.isHead { curl_set_number(handle, CURLOPT_NOBODY, 1) }
        if request.from > 0 { curl_set_text(handle, CURLOPT_RANGE, "\(request.from)-") }
        if let lines { curl_set_pointer(handle, CURLOPT_HTTPHEADER, lines) }
        let context = Unmanaged.passUnretained(self).toOpaque()
        curl_set_pointer(handle, CURLOPT_HEADERDATA, context)
        curl_set_taker(handle, CURLOPT_HEADERFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            Unmanaged<HTTPExchange>.fromOpaque(context).takeUnretainedValue().take(header: UnsafeRawBufferPointer(start: bytes, count: size * count))
            return size * count
        }
        curl_set_pointer(handle, CURLOPT_WRITEDATA, context)
        curl_set_taker(handle, CURLOPT_WRITEFUNCTION) { bytes, size, count, context in
            guard let bytes, let context else { return 0 }
            let exchange = Unmanaged<HTTPExchange>.fromOpaque(context).takeUnretainedValue()
            return exchange.take(body: UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
        }
    }

    private func take(header bytes: UnsafeRawBufferPointer) {
        let line = String(decoding: bytes, as: UTF8.self).trimmingLineEnd
        if line.hasPrefix("HTTP/") {
            // A new answer: that of a proxy or a 100 may stand before the one that counts.
            headers = [:]
            status = line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0
        } else if let colon = line.firstIndex(of: ":"), headers.count < 200 {
            headers[line[..<colon].lowercased()] = String(line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" })
        }
    }

    private func take(body bytes: UnsafeRawBufferPointer) -> Bool {
        guard status == 200 || status == 206 else { return true }
        if !body(bytes, self) { isStopped = true }
        return !isStopped
    }
}

extension String {
    /// Without the line end and blanks at its end. (Swift takes CR LF for one character.)
    fileprivate var trimmingLineEnd: String {
        var text = self[...]
        while let last = text.last, last.isWhitespace || last.isNewline { text.removeLast() }
        return String(text)
    }
}
