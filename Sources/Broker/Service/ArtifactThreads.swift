internal import ArtifactStore
internal import Logging
internal import Messaging
internal import TaskProtocol

/// The artifact store's threads in a broker: they read and write files, so that the reactor never does.
///
/// Requests for one digest go to one thread, in their order; those for others go on beside it.
final class ArtifactThreads: Sendable {
    private struct Work: Sendable {
        let operation: ArtifactOperation
        let reply: @Sendable (ArtifactAnswer) -> Void
    }

    private enum Letter: Sendable {
        case work(Work)
        case end
    }

    private let boxes: [Mailbox<Letter>]
    private let threads: [ServiceThread]
    /// How often the first thread looks for uploads that nobody goes on with, and how long those stay.
    private static let tidyingMilliseconds = 3_600_000
    private static let leftoverSeconds = 86_400

    init(_ directory: ArtifactDirectory, count: Int = 2, logger: Logger) throws(MessagingError) {
        var boxes: [Mailbox<Letter>] = []
        var threads: [ServiceThread] = []
        for index in 0..<count {
            let box = try Mailbox<Letter>()
            boxes.append(box)
            threads.append(try ServiceThread(name: "artifacts-\(index)") { Self.serve(directory, box, isFirst: index == 0, logger) })
        }
        self.boxes = boxes
        self.threads = threads
    }

    /// Asks; the answer comes on one of the threads.
    func perform(_ operation: ArtifactOperation, reply: @escaping @Sendable (ArtifactAnswer) -> Void) {
        let place = operation.sha256.utf8.reduce(0) { ($0 &* 31 &+ Int($1)) & 0xFFFF }
        boxes[place % boxes.count].put(.work(Work(operation: operation, reply: reply)))
    }

    /// Finishes what was asked, then ends the threads and waits for them.
    func close() {
        for box in boxes { box.put(.end) }
        for thread in threads { thread.join() }
    }

    private static func serve(_ directory: ArtifactDirectory, _ box: Mailbox<Letter>, isFirst: Bool, _ logger: Logger) {
        var server = ArtifactServer(directory)
        var poller = Poller()
        poller.add(box.wakeup)
        if isFirst { directory.removeLeftovers(olderThanSeconds: leftoverSeconds) }
        var tidied = ContinuousClock.now
        while true {
            for letter in box.takeAll() {
                guard case .work(let work) = letter else { return }
                work.reply(answer(work.operation, &server, logger))
            }
            if isFirst, ContinuousClock.now - tidied > .milliseconds(tidyingMilliseconds) {
                directory.removeLeftovers(olderThanSeconds: leftoverSeconds)
                tidied = .now
            }
            guard (try? poller.wait(milliseconds: tidyingMilliseconds)) != nil else { return }
        }
    }

    private static func answer(_ operation: ArtifactOperation, _ server: inout ArtifactServer, _ logger: Logger) -> ArtifactAnswer {
        do throws(ArtifactError) {
            return try server.perform(operation)
        } catch {
            // What the store itself did wrong is the operator's to mend; what was asked wrongly is told to who asked.
            if case .system = error { logger.error("the artifact store failed", metadata: ["error": "\(error)", "sha256": "\(operation.sha256)"]) }
            return .refused(error.contractError)
        }
    }
}
