/// How patient a client is.
public struct ClientOptions: Sendable {
    /// How long all brokers may be silent while something is asked, before every call fails with ``ClientError/unavailable(_:)``.
    public var silence: Duration = .seconds(10)
    /// How long one broker may be silent before the next is tried. (It is pinged after a second.)
    public var patience: Duration = .seconds(3)
    /// How long a broker that answers pings may take for one request (``ScriptoriumClient/wait(_:timeout:)`` and watching are not bounded).
    public var requestTimeout: Duration = .seconds(60)
    /// How to come to brokers that take CURVE keys only; nil: without keys.
    public var keys: ClientKeys?

    /// The defaults.
    public init() {}
}
