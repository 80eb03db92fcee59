internal import Glibc

/// Who can reach an endpoint.
///
/// Listening beyond loopback without keys is refused: whoever reaches a broker may read, cancel and overwrite everything.
package enum Listening {
    /// Throws ``MessagingError/notLoopback(endpoint:)`` where an endpoint would be open to other machines without keys.
    /// - Parameters:
    ///   - endpoint: `tcp://HOST:PORT`, or a bare `HOST:PORT`.
    ///   - hasKeys: whether strangers are kept out by CURVE keys.
    ///   - isInsecureAllowed: whether the operator said `--insecure`.
    package static func check(_ endpoint: String, hasKeys: Bool = false, isInsecureAllowed: Bool = false) throws(MessagingError) {
        guard hasKeys || isInsecureAllowed || isLoopback(endpoint) else { throw .notLoopback(endpoint: endpoint) }
    }

    /// How processes on this machine reach an endpoint: one that listens at every address is an address to listen on only, and is reached at
    /// loopback; any other is reached as it stands.
    /// - Parameter endpoint: `tcp://HOST:PORT`, or a bare `HOST:PORT`.
    package static func reachable(_ endpoint: String) -> String {
        let host = endpoint.range(ofScheme: "://") ?? endpoint.startIndex
        for everywhere in ["*:", "0.0.0.0:", "[::]:"] where endpoint[host...].hasPrefix(everywhere) {
            return endpoint[..<host] + "127.0.0.1:" + endpoint[host...].dropFirst(everywhere.count)
        }
        return endpoint
    }

    /// Whether only this machine can reach an endpoint: `inproc` and `ipc`, 127.0.0.0/8, ::1, and names all of whose addresses are such.
    package static func isLoopback(_ endpoint: String) -> Bool {
        if endpoint.hasPrefix("inproc://") || endpoint.hasPrefix("ipc://") { return true }
        var rest = Substring(endpoint)
        if let scheme = endpoint.range(ofScheme: "://") { rest = endpoint[scheme...] }
        guard let colon = rest.lastIndex(of: ":") else { return false }
        var host = rest[..<colon]
        if host.first == "[" && host.last == "]" { host = host.dropFirst().dropLast() }
        if host.isEmpty || host == "*" { return false }
        return addressesAreLoopback(String(host))
    }

    private static func addressesAreLoopback(_ host: String) -> Bool {
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(host, nil, nil, &list) == 0, let first = list else { return false }
        defer { freeaddrinfo(first) }
        var next: UnsafeMutablePointer<addrinfo>? = first
        while let entry = next {
            guard isLoopback(entry.pointee) else { return false }
            next = entry.pointee.ai_next
        }
        return true
    }

    private static func isLoopback(_ entry: addrinfo) -> Bool {
        guard let address = entry.ai_addr else { return false }
        switch entry.ai_family {
        case AF_INET:
            return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt32(bigEndian: $0.pointee.sin_addr.s_addr) >> 24 == 127 }
        case AF_INET6:
            return address.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) { pointer in
                withUnsafeBytes(of: pointer.pointee.sin6_addr) { bytes in bytes[15] == 1 && bytes[..<15].allSatisfy { $0 == 0 } }
            }
        default: return false
        }
    }
}

extension String {
    fileprivate func range(ofScheme mark: String) -> Index? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(mark) { return index(start, offsetBy: mark.count) }
            start = index(after: start)
        }
        return nil
    }
}
