package import Messaging

/// How the threads of the engine and of the loader wait for their mailboxes when they have nothing to do. Tests let one fail.
package struct ThreadWaits: Sendable {
    /// For so many milliseconds at most; without end where they are negative.
    package typealias Wait = @Sendable (inout Poller, _ milliseconds: Int) throws(MessagingError) -> Void

    package var engine: Wait
    package var loader: Wait

    package init(engine: @escaping Wait = ThreadWaits.plain, loader: @escaping Wait = ThreadWaits.plain) {
        self.engine = engine
        self.loader = loader
    }

    /// Until there is something, or the time is over.
    package static let plain: Wait = { poller, milliseconds throws(MessagingError) in try poller.wait(milliseconds: milliseconds) }
}
