import Client

extension ServiceOptions {
    /// Calls the service, its errors as exit statuses: 69 where it is away, 2 where it refused what was asked, 1 else.
    func withClient<Result>(_ body: (ScriptoriumClient) async throws -> Result) async throws -> Result {
        var options = ClientOptions()
        options.silence = .seconds(6)
        do {
            let client = try ScriptoriumClient(brokers: try tasksEndpoints(), options: options)
            defer { client.close() }
            return try await body(client)
        } catch let error as ClientError {
            throw CommandFailure(error)
        }
    }
}

extension CommandFailure {
    private static let faultsOfInput: Set<String> = ["bad_request", "invalid_argument", "not_found", "conflict", "too_large"]

    init(_ error: ClientError) {
        switch error {
        case _ where error.isServiceAway: self = .unavailable(error.description)
        case .refused(let refusal) where Self.faultsOfInput.contains(refusal.code): self = .usage(refusal.description)
        case .broken: self = .usage(error.description)
        default: self = .failed(error.description)
        }
    }
}
