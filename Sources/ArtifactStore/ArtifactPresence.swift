internal import Glibc
internal import Synchronization
package import TaskProtocol

/// Whether artifacts are there, with their age renewed: asked for every task that is pinned, looked up at most once an hour for each digest.
///
/// What is there is remembered; what is missing is not, since it may come at any moment. An hour is little beside the day that garbage collection
/// waits at least, so what was found within it still stands.
package final class ArtifactPresence: Sendable {
    private let directory: ArtifactDirectory
    private let now: @Sendable () -> Int64
    private let seen = Mutex<[String: Int64]>([:])
    private static let seconds: Int64 = 3600
    private static let mostRemembered = 10_000

    /// - Parameter now: monotonic seconds.
    package init(_ directory: ArtifactDirectory, now: @escaping @Sendable () -> Int64 = { ArtifactPresence.monotonicSeconds }) {
        self.directory = directory
        self.now = now
    }

    /// How an artifact stands. Blocks for a few system calls where that is not remembered.
    package func standing(of sha256: String) -> ArtifactStanding {
        let time = now()
        if let until = seen.withLock({ $0[sha256] }), time < until { return .present }
        let standing = directory.standing(of: sha256)
        seen.withLock { seen in
            if seen.count >= Self.mostRemembered { seen = seen.filter { time < $0.value } }
            if seen.count >= Self.mostRemembered { seen.removeAll() }
            seen[sha256] = standing == .present ? time + Self.seconds : nil
        }
        return standing
    }

    package static var monotonicSeconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec)
    }
}
