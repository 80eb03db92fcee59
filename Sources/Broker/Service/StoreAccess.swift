package import TaskProtocol

/// How the broker reaches its store: PostgreSQL in production, anything that answers in tests.
///
/// Sessions are opened on the threads that use them, one each, and closed there; a session whose answer is `unavailable` is dropped and opened anew.
package struct StoreAccess: Sendable {
    /// One open session: performs a request and blocks until its answer is there.
    package typealias Session = (StoreRequest) -> StoreReply

    /// Opens a session on the calling thread; throws where the store is away.
    package var open: @Sendable () throws(StoreFailure) -> Session
    /// Opens a session that hears notifications: a call waits at most so many milliseconds and says whether one came; it throws where the session is lost.
    package var listen: @Sendable () throws(StoreFailure) -> ((Int32) throws(StoreFailure) -> Bool)

    package init(
        open: @escaping @Sendable () throws(StoreFailure) -> Session,
        listen: @escaping @Sendable () throws(StoreFailure) -> ((Int32) throws(StoreFailure) -> Bool)
    ) {
        self.open = open
        self.listen = listen
    }
}
