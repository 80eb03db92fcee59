internal import Messaging

/// The CURVE keys with which a client comes to brokers that take no strangers.
///
/// ```swift
/// var options = ClientOptions()
/// options.keys = try ClientKeys(file: "client.key", serverKeys: ["rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"])
/// let client = try ScriptoriumClient(brokers: ["tcp://broker.example:5570"], options: options)
/// ```
///
/// `scriptorium keygen client.key` makes a pair; the operator adds `client.key.pub` to the brokers' `--curve-clients` list.
public struct ClientKeys: Sendable {
    private let pair: CurveKeyPair
    private let servers: [CurvePublicKey]

    /// - Parameters:
    ///   - file: the client's secret key, readable by its owner only.
    ///   - serverKeys: public keys of the brokers (or names of files that hold them): one that all of them have, or one for each, in their order.
    /// - Throws: ``ClientError/broken(_:)`` where a file cannot be used or a key is none.
    public init(file: String, serverKeys: [String]) throws(ClientError) {
        do throws(KeyFileError) {
            pair = try CurveKeyFile.read(file)
            var servers: [CurvePublicKey] = []
            for key in serverKeys { servers.append(try CurveKeyFile.publicKey(key)) }
            self.servers = servers
        } catch {
            throw .broken(error.description)
        }
    }

    /// - Throws: ``ClientError/broken(_:)`` where there are several server keys, but not one for each broker.
    func credentials(for brokers: [String]) throws(ClientError) -> CurveCredentials {
        if let credentials = CurveCredentials(keys: pair, servers: servers, endpoints: brokers) { return credentials }
        throw .broken("\(servers.count) server keys are given for \(brokers.count) brokers: give one that all have, or one for each")
    }
}
