import Client

extension ServiceOptions {
    /// Calls the service, its errors as exit statuses: 69 where it is away, 2 where it refused what was asked, 1 else.
    func withClient<Result>(_ body: (ScriptoriumClient) async throws -> Result) async throws -> Result {
        var options = ClientOptions()
        options.silence = .seconds(6)
        do {
            options.keys = try keys()
            let client = try ScriptoriumClient(brokers: try tasksEndpoints(), options: options)
            defer { client.close() }
            return try await body(client)
        } catch let error as ClientError {
            throw CommandFailure(error)
        }
    }
}

extension ServiceOptions {
    /// The keys to come with: the flags', else those that `scriptorium up` made for the clients of its data folder; nil: without keys.
    func keys() throws -> ClientKeys? {
        if let given = try curve.given() { return try clientKeys(given.file, given.serverKeys) }
        guard broker.isEmpty, let server = try ServiceFile.member("server_key", dataDirectory: dataDir),
            let file = try ServiceFile.member("client_key", dataDirectory: dataDir)
        else { return nil }
        return try clientKeys(file, [server])
    }

    private func clientKeys(_ file: String, _ servers: [String]) throws -> ClientKeys {
        do throws(ClientError) { return try ClientKeys(file: file, serverKeys: servers) } catch { throw CommandFailure.usage("\(error)") }
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
