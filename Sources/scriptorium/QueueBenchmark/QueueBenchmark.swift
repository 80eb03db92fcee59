import Broker
import Encodings
import Logging
import Messaging
import Supervision
import TaskProtocol
import TaskStore

/// Measures the queue alone: PostgreSQL with its durable defaults, one broker, one worker that does nothing.
struct QueueBenchmark {
    /// What one run found.
    struct Result {
        var tasks: Int
        /// Tasks that lay in the database already, finished.
        var finished: Int
        var curve: Bool
        var seconds: Double
        /// Milliseconds from publishing to the news of success, on an otherwise idle system, ascending.
        var latencies: [Double]

        var tasksPerSecond: Double { Double(tasks) / seconds }

        func percentile(_ share: Double) -> Double { latencies[min(latencies.count - 1, Int(Double(latencies.count) * share))] }

        var json: JSONObject {
            let rounded = { (value: Double) in JSONValue.real((value * 100).rounded() / 100) }
            return [
                "bench": "queue", "tasks": .integer(Int64(tasks)), "seconds": rounded(seconds), "tasks_per_second": rounded(tasksPerSecond),
                "latency_p50_ms": rounded(percentile(0.5)), "latency_p99_ms": rounded(percentile(0.99)), "brokers": 1, "workers": 1,
                "curve": .bool(curve), "finished": .integer(Int64(finished)),
            ]
        }
    }

    /// How many are published and recorded.
    var tasks: Int
    /// Tasks a request.
    var batch: Int
    /// Of the worker.
    var slots: Int
    /// Single tasks that measure the latency.
    var rounds: Int
    /// Whether all sockets are encrypted, and keys proved.
    var curve = false
    /// Finished tasks to lay in the database first.
    var finished = 0

    /// The keys of all three parties; nil: none has any.
    private struct Keys {
        let broker: CurveKeyPair
        let client: CurveKeyPair
        let worker: CurveKeyPair

        init() throws { (broker, client, worker) = (try .generate(), try .generate(), try .generate()) }

        func security() throws -> BrokerSecurity {
            try BrokerSecurity(keys: broker, clients: [client.publicKey], workers: [worker.publicKey])
        }

        func shown(_ pair: CurveKeyPair) -> SocketSecurity { .client(pair, server: broker.publicKey) }
    }

    /// Runs against a database whose schema is up to date.
    func run(_ database: BenchmarkDatabase) throws -> Result {
        try Self.registerModel(database.url)
        try database.addFinished(finished)
        let keys = curve ? try Keys() : nil
        var options = BrokerOptions()
        options.security = try keys?.security()
        (options.tasksEndpoint, options.eventsEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        (options.workersEndpoint, options.peersEndpoint) = ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*")
        let logger = Self.quietLogger()
        let broker = try BrokerService(options: options, store: PostgreSQLGateway(url: database.url), logger: logger)
        let endpoints = try broker.start()
        defer {
            broker.drain()
            broker.waitUntilEnded()
        }
        let stop = Condition<Int32>()
        let context = try ZMQContext()
        let (slots, shownByWorker) = (slots, keys.map { $0.shown($0.worker) } ?? .none)
        let worker = try ServiceThread(name: "no-op") {
            var worker = NoOpWorker(endpoint: endpoints.workers, slots: slots, security: shownByWorker)
            do { try worker.run(context: context, until: stop) } catch { logger.error("the worker failed", metadata: ["error": "\(error)"]) }
        }
        defer {
            stop.set(0)
            worker.join()
        }
        try Self.wait("the worker to join") { broker.snapshot.isReady && broker.snapshot.workers == 1 }
        var load = try QueueLoad(context: context, endpoint: endpoints.tasks, security: keys.map { $0.shown($0.client) } ?? .none)
        for _ in 0..<20 { _ = try load.roundTrip() }

        let before = broker.snapshot.counters.recorded
        let begin = monotonicSeconds()
        try load.publish(tasks, batch: batch, window: 8)
        try Self.wait("the tasks to end") { broker.snapshot.counters.recorded - before >= tasks }
        let seconds = monotonicSeconds() - begin

        var latencies: [Double] = []
        for _ in 0..<rounds { latencies.append(try load.roundTrip() * 1000) }
        return Result(tasks: tasks, finished: finished, curve: curve, seconds: seconds, latencies: latencies.sorted())
    }

    private static func quietLogger() -> Logger {
        var logger = Logger(label: "bench")
        logger.logLevel = .error
        return logger
    }

    private static func wait(_ what: String, _ condition: () -> Bool) throws {
        let deadline = monotonicSeconds() + 300
        let never = Condition<Int>()
        while !condition() {
            guard monotonicSeconds() < deadline else { throw CommandFailure.failed("waited 300 s in vain for \(what)") }
            _ = never.wait(seconds: 0.005)
        }
    }

    /// The model that all tasks of a benchmark name.
    static func registerModel(_ url: String) throws {
        let connection = try DatabasePreparation.connect(url, withinSeconds: 0, setup: .broker)
        let digest = String(repeating: "0", count: 64)
        let model = ModelRegistration(
            name: "bench", checkpointID: UUIDValue.random(), manifest: digest, sha256: digest, tokenizerSHA256: digest, architecture: "gpt2",
            parameters: 0, contextLength: 1024, bytes: 0, lineByLine: false, config: Array("{}".utf8))
        guard case .models = StoreSession(connection).perform(.registerModel(model)) else {
            throw CommandFailure.failed("the model of the benchmark could not be registered")
        }
    }
}
