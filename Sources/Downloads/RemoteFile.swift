/// What a server says of a file.
package struct RemoteFile: Sendable, Equatable {
    /// How the bytes can be checked.
    package enum Check: String, Sendable {
        /// A hub's large file: SHA-256 of the bytes.
        case sha256
        /// A hub's small file: git's name of the bytes, SHA-1 behind a header.
        case gitBlob = "git"
        /// The server announces no digest that is known here: only the length is checked.
        case none
    }

    package private(set) var check = Check.none
    /// In hexadecimal digits, as ``check`` says.
    package private(set) var digest = ""
    package private(set) var size: Int?
    private var entityTag = ""
    /// Whether a hub of models answered on the way: it names the commit.
    private var isHub = false

    /// The server's name for these bytes, as a part of a file name.
    var tag: String {
        let letters = (digest.isEmpty ? entityTag : digest).filter { $0.isASCII && ($0.isLetter || $0.isNumber) }
        return letters.isEmpty ? "unnamed" : String(letters.prefix(16))
    }

    /// Takes in the headers of one answer on the way, the hub's own before those of where it leads.
    mutating func take(_ exchange: HTTPExchange) {
        let headers = exchange.headers
        let isFinal = exchange.status == 200
        isHub = isHub || headers["x-repo-commit"] != nil
        if size == nil, let told = headers["x-linked-size"] ?? (isFinal ? headers["content-length"] : nil) { size = Int(told) }
        guard digest.isEmpty, let told = headers["x-linked-etag"] ?? (isFinal ? headers["etag"] : nil) else { return }
        let name = told.drop { $0 == "W" || $0 == "/" }.filter { $0 != "\"" }.lowercased()
        entityTag = name
        guard name.allSatisfy({ $0.isHexDigit }) else { return }
        // Elsewhere a tag of 40 digits may be anything; a hub says that it is one.
        if name.count == 64 { (check, digest) = (.sha256, name) }
        if name.count == 40, isHub { (check, digest) = (.gitBlob, name) }
    }
}
