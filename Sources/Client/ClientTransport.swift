internal import ArtifactStore
internal import Encodings
internal import Messaging
internal import TaskProtocol

/// A client's connection as artifacts go over it. Belongs to the thread of one transfer.
///
/// Where a broker falls silent the client itself goes to the next. Where a connection broke and came back, the answers to what was under way never come:
/// after some seconds that counts as lost, once, until something is answered again.
final class ClientTransport: ArtifactTransport {
    private struct Letter: Sendable {
        let number: Int64
        let answer: Result<Node, ClientError>
    }

    private let client: ScriptoriumClient
    private let box: Mailbox<Letter>
    private var poller = Poller()
    private var letters: [Letter] = []
    private var unanswered: Set<Int64> = []
    private var hasHeard = false
    /// Why the client itself gave up, as its other calls would say it.
    private(set) var failure: ClientError?
    /// How long one answer may take; `busy` and `unavailable` are tried again by the client for so long.
    private static let seconds = 10.0

    init(_ client: ScriptoriumClient) throws(MessagingError) {
        self.client = client
        box = try Mailbox()
        poller.add(box.wakeup)
    }

    func send(_ operation: ArtifactOperation, number: Int64) throws(TransferError) {
        let box = box
        unanswered.insert(number)
        client.post(seconds: Self.seconds, payload: { Self.payload(operation, id: $0) }) { box.put(Letter(number: number, answer: $0)) }
    }

    func next(milliseconds: Int) throws(TransferError) -> TransportEvent {
        if letters.isEmpty {
            do throws(MessagingError) { try poller.wait(milliseconds: milliseconds) } catch { throw .connection(error.description) }
            letters = box.takeAll()
        }
        guard !letters.isEmpty else { return .nothing }
        let letter = letters.removeFirst()
        guard unanswered.remove(letter.number) != nil else { return .nothing }
        switch letter.answer {
        case .success(let root):
            hasHeard = true
            guard let answer = Self.answer(root) else { throw .broken("an answer has neither have nor data") }
            return .answer(number: letter.number, answer)
        case .failure(.refused(let error)):
            hasHeard = true
            let code = ErrorCode(rawValue: error.code) ?? .internalError
            return .answer(number: letter.number, .refused(ContractError(code, error.message, field: error.field)))
        case .failure(.unavailable) where hasHeard:
            hasHeard = false
            unanswered = []
            return .lost
        case .failure(let error):
            failure = error
            throw .connection(error.description)
        }
    }

    private static func answer(_ root: Node) -> ArtifactAnswer? {
        if let have = root["have"]?.integerValue { return .have(have) }
        guard let data = root["data"]?.binaryValue, let size = root["size"]?.integerValue else { return nil }
        return .data(data, size: size)
    }

    private static func payload(_ operation: ArtifactOperation, id: Int64) -> [UInt8] {
        var writer = MessagePackWriter()
        switch operation {
        case .put(let put):
            writer.beginMap(put.data == nil ? 5 : 6)
            writer.member("op", "put")
            writer.member("size", put.size)
            if let data = put.data {
                writer.key("data")
                writer.binary(data)
            }
            writer.member("offset", put.offset)
        case .fetch(let fetch):
            writer.beginMap(5)
            writer.member("op", "fetch")
            writer.member("length", fetch.length)
            writer.member("offset", fetch.offset)
        }
        writer.member("sha256", operation.sha256)
        writer.member("id", id)
        writer.endMap()
        return writer.bytes
    }
}
