package import TaskProtocol
internal import TaskStore

/// How the reactor reaches its store without ever waiting for it: PostgreSQL in production, anything that answers in tests.
package protocol StoreGateway: Sendable {
    /// Begins; called once, on the reactor's thread.
    /// - Parameter notified: to be called, from any thread, when something was published that nobody was told of.
    func open(notified: @escaping @Sendable () -> Void)
    /// Asks. The reply may come on any thread; requests of one lane come one at a time.
    func perform(_ request: StoreRequest, lane: StoreLane, reply: @escaping @Sendable (StoreReply) -> Void)
    /// Makes the connection that notifications come over anew.
    func listenAnew()
    /// Ends; waits for what is under way.
    func close()
}
