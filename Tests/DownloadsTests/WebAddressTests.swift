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

    @Test("a path is put behind an address with one slash between")
    func appending() throws {
        #expect(try WebAddress("https://hub.example").appending("a/b").text == "https://hub.example/a/b")
        #expect(try WebAddress("https://hub.example/mirror/").appending("a").text == "https://hub.example/mirror/a")
    }
}
