internal import Hummingbird
package import Logging
internal import NIOCore
internal import ServiceLifecycle

/// What `/readyz` answers: ready, or the reasons why not, each a sentence for a person.
package struct Readiness: Sendable, Equatable {
    /// What is missing; empty where the process can take work.
    package var reasons: [String]

    package init(reasons: [String] = []) { self.reasons = reasons }
}

/// The HTTP endpoint of a broker or worker: `/healthz`, `/readyz` and `/metrics`.
///
/// It knows neither SQL nor sockets: what it shows comes from two functions, called on each request.
package struct OperationsServer: Service {
    /// An address to listen on.
    package struct Address: Sendable, Equatable {
        package var host: String
        /// 0 lets the system choose.
        package var port: Int

        /// - Parameter text: `host:port`, where port may be `0` or `*`.
        /// - Returns: nil where the text is no such thing.
        package init?(_ text: String) {
            guard let colon = text.lastIndex(of: ":") else { return nil }
            var host = String(text[..<colon])
            if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
            let portText = text[text.index(after: colon)...]
            guard !host.isEmpty, let port = portText == "*" ? 0 : Int(portText), (0...65535).contains(port) else { return nil }
            self.host = host == "*" ? "0.0.0.0" : host
            self.port = port
        }
    }

    private let address: Address
    private let readiness: @Sendable () -> Readiness
    private let metrics: @Sendable () -> [MetricFamily]
    private let listening: @Sendable (String) -> Void
    private let logger: Logger

    /// - Parameters:
    ///   - readiness: asked at each `/readyz`; must not block.
    ///   - metrics: asked at each `/metrics`; must not block.
    ///   - listening: told the actual `host:port` once requests are answered.
    package init(
        address: Address, logger: Logger, readiness: @escaping @Sendable () -> Readiness,
        metrics: @escaping @Sendable () -> [MetricFamily], listening: @escaping @Sendable (String) -> Void
    ) {
        self.listening = listening
        self.address = address
        self.logger = logger
        self.readiness = readiness
        self.metrics = metrics
    }

    /// Serves until its service group shuts down.
    /// - Throws: where the address cannot be bound.
    package func run() async throws {
        let router = Router()
        router.add(middleware: PlainErrors())
        router.get("/healthz") { _, _ in Self.text(.ok, "ok\n") }
        router.get("/readyz") { _, _ in
            let state = readiness()
            if state.reasons.isEmpty { return Self.text(.ok, "ready\n") }
            return Self.text(.serviceUnavailable, state.reasons.map { $0 + "\n" }.joined())
        }
        router.get("/metrics") { _, _ in
            Self.text(.ok, PrometheusText.render(metrics()), type: PrometheusText.contentType)
        }
        let host = address.host
        let application = Application(
            router: router, configuration: .init(address: .hostname(host, port: address.port), serverName: "scriptorium"),
            onServerRunning: { channel in listening("\(host):\(channel.localAddress?.port ?? 0)") }, logger: quiet(logger))
        try await application.run()
    }

    /// Hummingbird logs each start at info level; an operator has our own line for that.
    private func quiet(_ logger: Logger) -> Logger {
        var quiet = logger
        quiet.logLevel = max(logger.logLevel, .warning)
        return quiet
    }

    private static func text(_ status: HTTPResponse.Status, _ body: String, type: String = "text/plain; charset=utf-8") -> Response {
        Response(status: status, headers: [.contentType: type], body: .init(byteBuffer: ByteBuffer(string: body)))
    }

    /// Gives every error, the router's 404 included, a body that says what happened.
    private struct PlainErrors: RouterMiddleware {
        func handle(_ request: Request, context: BasicRequestContext, next: (Request, BasicRequestContext) async throws -> Response) async throws
            -> Response
        {
            do {
                return try await next(request, context)
            } catch let error as any HTTPResponseError {
                return OperationsServer.text(
                    error.status, "\(error.status.code) \(error.status.reasonPhrase): this endpoint serves /healthz, /readyz and /metrics\n")
            }
        }
    }
}
