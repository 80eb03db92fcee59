package import Messaging

/// How the threads of the engine and of the loader wait for their mailboxes when they have nothing to do. Tests let one fail.
package struct ThreadWaits: Sendable {
    package typealias Wait = @Sendable (inout Poller) throws(MessagingError) -> Void

    package var engine: Wait
    package var loader: Wait

    package init(engine: @escaping Wait = ThreadWaits.endless, loader: @escaping Wait = ThreadWaits.endless) {
        self.engine = engine
        self.loader = loader
    }

    /// Until there is something.
    package static let endless: Wait = { poller throws(MessagingError) in _ = try poller.wait(milliseconds: -1) }
}
