import Encodings
import TaskProtocol
import TestSupport
import Testing

@Suite("Damaged messages")
struct FuzzTests {
    /// Valid requests of every op, in both encodings.
    private static func requests() throws -> [[UInt8]] {
        let texts = [
            #"{"op":"ping","id":"a"}"#,
            submit(generate: #"{"model":"demo","prompts":["In the","é"],"temperature":[0.5,1],"stop":["\n"],"seed":9007199254740991}"#),
            submit(finetune: #"{"model":"demo","output":"mine","dataset":{"merge":[{"name":"a"},{"text":"b"}],"equalize":true},"lora":{"rank":4}}"#),
            #"{"op":"submit","tasks":[{"kind":"verify","params":{"task":"01900000-0000-7000-8000-000000000000"},"after":["01900000-0000-7000-8000-000000000001"],"tags":{"a":"b"},"key":"k","run_at":"2026-01-01T00:00:00Z"}]}"#,
            #"{"op":"get","ids":["01900000-0000-7000-8000-000000000000"],"results":true,"id":7}"#,
            #"{"op":"wait","task":"01900000-0000-7000-8000-000000000000","timeout_ms":10}"#, #"{"op":"models"}"#,
            #"{"op":"cancel","ids":["01900000-0000-7000-8000-000000000000"]}"#,
        ]
        return try texts.flatMap { text in
            var writer = MessagePackWriter()
            try JSONValue.parse(text).write(to: &writer)
            return [Array(text.utf8), writer.bytes]
        }
    }

    @Test("requests: damaged ones are decoded or refused with a code, within bounds")
    func clients() throws {
        let report = try Fuzz(
            "requests", seed: 71, rounds: 20_000,
            words: ["\"op\":\"put\"", "\"op\":\"register\"", "\"dataset\":{\"uri\":\"file:/x\"}", "\\u0000", "\\ud800", "1e309"]
        ).run(try Self.requests()) { bytes in
            guard case .failure(let error) = Request.decode(bytes).operation else { return true }
            #expect([.badRequest, .invalidArgument, .tooLarge].contains(error.code) && !error.message.isEmpty)
            return false
        }
        #expect(report.isBounded && report.accepted > 0 && report.accepted < report.rounds, "\(report)")
    }

    private static let lease = WorkerLease(task: UUIDValue(hi: 1, lo: 2), lease: UUIDValue(hi: 3, lo: 4), attempt: 1)

    @Test("messages of workers, brokers and peers: damaged ones are decoded or refused, within bounds")
    func peers() throws {
        let id = UUIDValue(hi: 5, lo: 6)
        let worker: [WorkerMessage] = [
            .goodbye(session: id), .confirm(session: id, lease: id), .started(Self.lease), .cancelled(Self.lease),
            .resolve(session: id, number: 1, model: "demo@5"),
            .failed(Self.lease, error: ContractError(.invalidArgument, "no", field: "params.n"), final: true),
            .event(Self.lease, events: [.token(sample: 0, draw: 0, index: 1, tokenID: 2, text: "é")]),
            .heartbeat(
                WorkerHeartbeat(session: id, sequence: 1, leasesCount: 0, leasesHash: 7, freeSlots: -1, idle: true, models: ["ab"], draining: false)),
        ]
        let broker: [BrokerMessage] = [
            .welcome(broker: id, heartbeatMilliseconds: 1000), .registerPlease, .heartbeat(beatsOK: true), .cancel(lease: id), .stale(lease: id),
            .checkpointRecorded(lease: id, step: 5, checkpoint: id), .resolved(number: 1, .failure(ContractError(.notFound, "no", field: "model"))),
            .resolved(
                number: 1,
                .success(
                    ResolvedModel(
                        name: "demo", checkpoint: id, sha256: "ab", manifest: "cd", tokenizerSHA256: nil, contextLength: 64, lineByLine: true))),
        ]
        let status = PeerMessage.status(
            PeerStatus(broker: id, beatsOK: true, isDraining: false, workersEndpoint: "tcp://127.0.0.1:1", publicKey: nil))
        let samples = worker.map(\.encoded) + broker.map(\.encoded) + [status.payload, PeerMessage.wake(id).payload]
        let report = try Fuzz("messages", seed: 72, rounds: 20_000, words: ["grant", "complete", "progress", "checkpoint", "artifact_data", "leave"])
            .run(samples) { bytes in
                let read = [
                    (try? WorkerMessage.decode(bytes)) != nil, (try? BrokerMessage.decode(bytes)) != nil,
                    (try? PeerMessage.decode(topic: PeerMessage.brokerTopic, payload: bytes)) != nil,
                    (try? PeerMessage.decode(topic: Array("task.x".utf8), payload: bytes)) != nil,
                ]
                return read.contains(true)
            }
        #expect(report.isBounded && report.accepted > 0 && report.accepted < report.rounds, "\(report)")
    }
}
