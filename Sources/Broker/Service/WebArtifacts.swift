package import ArtifactStore
package import Downloads
internal import DurableFiles
internal import Glibc
internal import Messaging
internal import Synchronization
package import TaskProtocol

/// Datasets by web address: fetched into the artifact store, then pinned by digest like any other, so that every attempt of a task reads
/// the same bytes.
///
/// Fetched is only what begins with an address that the operator allows, on a thread of its own, without redirects and up to a size. Who
/// asks meanwhile hears that it is under way: nothing is accepted before the digest is known. What came is kept in mind for some minutes,
/// what did not for some seconds; after that the address is asked again, as its bytes may be others by then.
package final class WebArtifacts: Sendable {
    private struct Kept {
        var standing: ArtifactStanding
        var until: Int64
    }

    private struct State {
        var kept: [String: Kept] = [:]
        var running: Set<String> = []
    }

    private let directory: ArtifactDirectory
    private let allowed: [WebAddress]
    private let maximumBytes: Int
    private let now: @Sendable () -> Int64
    private let state = Mutex(State())

    private static let mostAtOnce = 2
    private static let mostRemembered = 1000
    private static let secondsOfSuccess: Int64 = 600
    private static let secondsOfFailure: Int64 = 10

    /// - Parameters:
    ///   - allowed: what addresses must begin with.
    ///   - maximumBytes: of one dataset.
    ///   - now: monotonic seconds.
    package init(
        _ directory: ArtifactDirectory, allowed: [WebAddress], maximumBytes: Int,
        now: @escaping @Sendable () -> Int64 = { ArtifactPresence.monotonicSeconds }
    ) {
        (self.directory, self.allowed, self.maximumBytes, self.now) = (directory, allowed, maximumBytes, now)
    }

    /// How the bytes behind an address stand; begins to fetch them where nobody has. Returns at once.
    package func standing(of text: String) -> ArtifactStanding {
        let address: WebAddress
        do throws(DownloadError) { address = try WebAddress(text) } catch { return .refused(error.description) }
        guard allowed.contains(where: { address.begins(with: $0) }) else {
            return .refused("this address does not begin with one that the operator allows (--allow-uri)")
        }
        let time = now()
        let isOurs = state.withLock { state -> Bool? in
            if let kept = state.kept[address.text], time < kept.until { return nil }
            state.kept[address.text] = nil
            guard !state.running.contains(address.text), state.running.count < Self.mostAtOnce else { return false }
            state.running.insert(address.text)
            return true
        }
        guard let isOurs else { return state.withLock { $0.kept[address.text]?.standing } ?? .fetching }
        if isOurs { begin(address) }
        return .fetching
    }

    private func begin(_ address: WebAddress) {
        do throws(MessagingError) {
            // Not joined: a broker that ends leaves the transfer to its process's end.
            _ = try ServiceThread(name: "web-artifacts") { [self] in settle(address, fetch(address)) }
        } catch { settle(address, .refused("no thread can be started to fetch it")) }
    }

    private func settle(_ address: WebAddress, _ standing: ArtifactStanding) {
        let isThere = if case .fetched = standing { true } else { false }
        let until = now() + (isThere ? Self.secondsOfSuccess : Self.secondsOfFailure)
        state.withLock { state in
            state.running.remove(address.text)
            if state.kept.count >= Self.mostRemembered { state.kept.removeAll() }
            state.kept[address.text] = Kept(standing: standing, until: until)
        }
    }

    private func fetch(_ address: WebAddress) -> ArtifactStanding {
        let folder = directory.path + "/tmp/web-" + UUIDValue.random().description
        defer { FileTree.remove(folder) }
        do {
            try FileTree.makeFolders(folder)
            let downloader = Downloader(token: nil, followsRedirects: false)
            _ = try downloader.fetch(address, to: folder + "/data", limit: maximumBytes)
            let manifest = try directory.put(files: [(path: address.fileName, source: folder + "/data")])
            return .fetched(sha256: manifest.sha256)
        } catch let error as DownloadError {
            return .refused(error.description)
        } catch { return .refused("what came from \(address.text) cannot be stored") }
    }
}
