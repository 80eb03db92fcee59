import CCurl

/// An address that may be fetched from: `https`, or plain `http` on this machine's loopback; no user or password in it.
///
/// libcurl's own parser takes it apart, so that what is checked is what is connected to.
package struct WebAddress: Sendable, Equatable {
    /// The address, as libcurl writes it.
    package let text: String
    private let scheme: String
    private let host: String
    private let port: String
    private let path: String
    private let query: String?

    /// - Throws: `.badAddress` saying what is not allowed.
    package init(_ text: String) throws(DownloadError) {
        try self.init(text, from: nil)
    }

    /// Where a `Location` leads that came from here.
    package func following(_ location: String) throws(DownloadError) -> WebAddress { try WebAddress(location, from: self) }

    /// This address with more of a path behind it.
    package func appending(_ path: String) throws(DownloadError) -> WebAddress {
        try WebAddress(text.hasSuffix("/") ? text + path : text + "/" + path)
    }

    private init(_ text: String, from base: WebAddress?) throws(DownloadError) {
        let shown = String(text.prefix(200))
        // libcurl would end the text at a zero, and nobody means a blank.
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { throw .badAddress(shown, reason: "holds a character that no address has") }
        guard let parts = curl_url() else { throw .badAddress(shown, reason: "no memory") }
        defer { curl_url_cleanup(parts) }
        if let base { curl_url_set(parts, CURLUPART_URL, base.text, 0) }
        guard curl_url_set(parts, CURLUPART_URL, text, 0) == CURLUE_OK, let scheme = Self.part(parts, CURLUPART_SCHEME),
            let host = Self.part(parts, CURLUPART_HOST), let port = Self.part(parts, CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT)),
            let whole = Self.part(parts, CURLUPART_URL), let path = Self.part(parts, CURLUPART_PATH)
        else { throw .badAddress(shown, reason: "is no web address") }
        guard Self.part(parts, CURLUPART_USER) == nil, Self.part(parts, CURLUPART_PASSWORD) == nil else {
            throw .badAddress(host, reason: "names a user or a password in the address")
        }
        guard scheme == "https" || scheme == "http" && Self.isLoopback(host) else {
            throw .badAddress(shown, reason: "is not https (plain http is for loopback only)")
        }
        (self.text, self.scheme, self.host, self.port, self.path) = (whole, scheme, host.lowercased(), port, path)
        query = Self.part(parts, CURLUPART_QUERY)
    }

    private static func part(_ parts: OpaquePointer, _ kind: CURLUPart, _ flags: UInt32 = 0) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(parts, kind, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }

    /// By its spelling alone: names that a resolver might send elsewhere do not count.
    private static func isLoopback(_ host: String) -> Bool {
        if host == "localhost" || host == "[::1]" { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// Whether credentials for one may go to the other.
    package func hasSameOrigin(as other: WebAddress) -> Bool { scheme == other.scheme && host == other.host && port == other.port }

    /// Whether this lies at or below another address: the same origin, and a path that begins with the other's, as it stands there.
    ///
    /// libcurl has taken `..` out of the path; one that climbs in another spelling lies below nothing.
    package func begins(with prefix: WebAddress) -> Bool {
        guard hasSameOrigin(as: prefix), pathAndQuery.utf8.starts(with: prefix.pathAndQuery.utf8) else { return false }
        let spelled = path.lowercased()
        return !spelled.contains("%2e") && !spelled.contains("%2f") && !spelled.contains("%5c") && !spelled.contains("\\")
    }

    private var pathAndQuery: String { query.map { path + "?" + $0 } ?? path }

    /// The path's last part where that is a plain file name, else `data`.
    package var fileName: String {
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        let isPlain =
            (1...100).contains(name.utf8.count) && !name.hasPrefix(".")
            && name.utf8.allSatisfy { byte in
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte)
                    || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                    || [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")].contains(byte)
            }
        return isPlain ? name : "data"
    }

    /// Whether it is plain `http`, which only loopback may be.
    var isLoopback: Bool { Self.isLoopback(host) }
}
