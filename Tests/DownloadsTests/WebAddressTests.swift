import Downloads
import Testing

@Suite("Addresses that may be fetched from")
struct WebAddressTests {
    @Test(
        "https is taken, plain http on loopback only",
        arguments: ["https://hub.example/a", "http://127.0.0.1:80/a", "http://localhost:8080/", "http://[::1]:9/x", "HTTPS://Hub.Example/a"])
    func taken(text: String) throws { #expect(try !WebAddress(text).text.isEmpty) }

    @Test(
        "anything else is refused",
        arguments: [
            "", "x", "http://hub.example/a", "ftp://127.0.0.1/a", "file:///etc/passwd", "http://127.0.0.1.hub.example/",
            "http://localhost.hub.example/",
            "https://user@hub.example/", "https://user:secret@hub.example/", "http://127.0.0.1@hub.example/", "http://127.0.0.256/", "https://",
            "https://hub.example:99999/", "http://0.0.0.0/", "javascript:alert(1)", "https://hub.example/\u{0}", "https://hub.example/ x",
            "https://hub.example/é",
        ])
    func refused(text: String) throws {
        let error = #expect(throws: DownloadError.self) { try WebAddress(text) }
        #expect(error.map { !"\($0)".contains("secret") } == true)
    }

    @Test("a redirect is resolved against where it came from, and may not leave https")
    func redirects() throws {
        let hub = try WebAddress("https://hub.example/gpt2/resolve/main/config.json")
        #expect(try hub.following("/api/x").text == "https://hub.example/api/x")
        #expect(try hub.following("/api/x").hasSameOrigin(as: hub))
        #expect(try !hub.following("https://cdn.example/x").hasSameOrigin(as: hub))
        #expect(try !hub.following("https://hub.example:8443/x").hasSameOrigin(as: hub))
        #expect(try hub.following("https://HUB.example:443/x").hasSameOrigin(as: hub))
        #expect(throws: DownloadError.self) { try hub.following("http://hub.example/x") }
        #expect(throws: DownloadError.self) { try hub.following("file:///etc/passwd") }
    }

    @Test("an address lies below another of the same origin whose text it begins with, and climbs in no spelling")
    func prefixes() throws {
        let allowed = try WebAddress("https://data.example/sets/")
        for text in ["https://data.example/sets/a.txt", "HTTPS://DATA.example:443/sets/a/b?c=d", "https://data.example/x/../sets/a"] {
            #expect(try WebAddress(text).begins(with: allowed), "\(text)")
        }
        for text in [
            "https://data.example/set", "https://data.example/", "https://data.example.evil.org/sets/a", "https://data.example:8443/sets/a",
            "https://evil.org/https://data.example/sets/a", "https://data.example/sets/../a", "https://data.example/sets/%2e%2e/a",
            "https://data.example/sets/%2E./a", "https://data.example/sets/..%2fa", "https://data.example/sets/..%5Ca",
        ] { #expect(try !WebAddress(text).begins(with: allowed), "\(text)") }
        // An origin alone ends with a slash, so that no longer host begins with it.
        #expect(try !WebAddress("https://data.example.evil.org/").begins(with: WebAddress("https://data.example")))
    }

    @Test("a file's name is the path's last part where that is a plain one")
    func fileNames() throws {
        for (text, name) in [
            ("https://x.org/a/b.csv?c=d", "b.csv"), ("https://x.org/", "data"), ("https://x.org/.hidden", "data"), ("https://x.org/a%20b", "data"),
            ("https://x.org/" + String(repeating: "n", count: 101), "data"), ("https://x.org/a/b/", "b"),
        ] { #expect(try WebAddress(text).fileName == name) }
    }

    @Test("a path is put behind an address with one slash between")
    func appending() throws {
        #expect(try WebAddress("https://hub.example").appending("a/b").text == "https://hub.example/a/b")
        #expect(try WebAddress("https://hub.example/mirror/").appending("a").text == "https://hub.example/mirror/a")
    }
}
