import ArgumentParser
import ArtifactStore
import Broker
import Downloads

/// From where a broker may fetch datasets that tasks name by address.
struct WebOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Tasks may name datasets by web addresses that begin with this one (https; http on loopback only), which the broker fetches; repeatable.",
            valueName: "prefix"))
    var allowUri: [String] = []

    @Option(help: ArgumentHelp("The largest dataset to fetch.", valueName: "bytes"))
    var maxUriBytes = 1 << 30

    func validate() throws {
        _ = try prefixes()
        guard maxUriBytes > 0 else { throw ValidationError("--max-uri-bytes: \(maxUriBytes) is not above 0") }
    }

    private func prefixes() throws -> [WebAddress] {
        try allowUri.map { text in
            do throws(DownloadError) { return try WebAddress(text) } catch { throw ValidationError("--allow-uri: \(error)") }
        }
    }

    /// What fetches into a store; nil where nothing is allowed.
    func artifacts(_ store: ArtifactDirectory) throws -> WebArtifacts? {
        allowUri.isEmpty ? nil : WebArtifacts(store, allowed: try prefixes(), maximumBytes: maxUriBytes)
    }

    /// The same as arguments of `scriptorium broker`.
    var arguments: [String] { allowUri.flatMap { ["--allow-uri", $0] } + (allowUri.isEmpty ? [] : ["--max-uri-bytes", String(maxUriBytes)]) }
}
