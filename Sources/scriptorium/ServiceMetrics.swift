import Broker
import Generation
import Measures
import Operations
import TaskProtocol
import Worker

extension BrokerEndpoints {
    /// By the names of `service.json`.
    var byName: [String: String] { ["tasks": tasks, "events": events, "workers": workers, "peers": peers] }
}

extension BrokerSnapshot {
    /// What `/readyz` says.
    var readiness: Readiness {
        var reasons: [String] = []
        if isDraining { reasons.append("draining: it takes no new work") }
        if isDatabaseAway { reasons.append("the database does not answer") }
        if !isReady, reasons.isEmpty { reasons.append("starting: the database has not taken the broker's row yet") }
        return Readiness(reasons: reasons)
    }

    /// The broker's part of `/metrics`.
    var families: [MetricFamily] {
        let known = shownQueues
        let byQueue = { (value: (QueueFigures) -> Double) in
            known.map { MetricFamily.Sample(value($0), labels: [(name: "queue", value: $0.name)]) }
        }
        return [
            MetricFamily("scriptorium_queue_depth", .gauge, help: "Tasks that wait.", samples: byQueue { Double($0.depth) }),
            MetricFamily("scriptorium_queue_running", .gauge, help: "Tasks that run.", samples: byQueue { Double($0.running) }),
            MetricFamily(
                "scriptorium_queue_oldest_seconds", .gauge, help: "How long the oldest due task has waited.", samples: byQueue(\.oldestSeconds)),
            MetricFamily("scriptorium_queue_wait_seconds", help: "From due to the start of an attempt, by queue.", counters.queueWait),
            MetricFamily(
                "scriptorium_task_duration_seconds", help: "From start to end of an attempt, by kind and outcome.", counters.taskDuration),
            MetricFamily("scriptorium_leases", .gauge, help: "Leases held by workers joined here.", value: Double(leases)),
            MetricFamily("scriptorium_workers", .gauge, help: "Workers joined here.", value: Double(workers)),
            MetricFamily("scriptorium_slots", .gauge, help: "Sequences that they can run at once.", value: Double(slots)),
            MetricFamily("scriptorium_waits", .gauge, help: "Clients that wait for or watch a task.", value: Double(waitsAndWatches)),
            MetricFamily("scriptorium_requests_in_flight", .gauge, help: "Requests not answered yet.", value: Double(requestsInFlight)),
            MetricFamily(
                "scriptorium_xmin_age_seconds", .gauge, help: "Age of the oldest snapshot that holds vacuum back.",
                value: durability?.xminAgeSeconds ?? 0),
            MetricFamily(
                "scriptorium_dropped_replies_total", .counter, help: "Replies dropped for clients that do not read.", value: Double(droppedReplies)),
            MetricFamily(
                "scriptorium_malformed_worker_messages_total", .counter, help: "Messages on the workers endpoint that were none.",
                value: Double(malformedWorkerMessages)),
            MetricFamily(
                "scriptorium_database_seconds", help: "From asking the database to its answer, waiting for a connection included, by request.",
                database),
            buildInfo,
        ] + counters.families
    }
}

/// The program, as a dashboard joins it to other series.
private var buildInfo: MetricFamily {
    let labels = [(name: "version", value: Version.number), (name: "numerics", value: Numerics.all.joined(separator: " "))]
    return MetricFamily("scriptorium_build_info", .gauge, help: "The program.", samples: [.init(1, labels: labels)])
}

extension BrokerSnapshot {
    /// How many queues have series of their own: anybody may name a queue, and each name costs whoever collects the metrics.
    private static let mostQueues = 100

    /// The default queue, which is there also before anything was published, and the deepest others; the rest as one.
    private var shownQueues: [QueueFigures] {
        let ordered = queues.filter { $0.name != "default" }.sorted { ($1.depth, $0.name) < ($0.depth, $1.name) }
        var shown = [queues.first { $0.name == "default" } ?? QueueFigures(name: "default", depth: 0, running: 0, oldestSeconds: 0)]
        shown += ordered.prefix(Self.mostQueues - 1)
        let rest = ordered.dropFirst(Self.mostQueues - 1)
        if !rest.isEmpty {
            shown.append(
                QueueFigures(
                    name: HistogramFamily.other, depth: rest.reduce(0) { $0 + $1.depth }, running: rest.reduce(0) { $0 + $1.running },
                    oldestSeconds: rest.map(\.oldestSeconds).max() ?? 0))
        }
        return shown
    }
}

extension WorkerSnapshot {
    /// What `/readyz` says.
    var readiness: Readiness {
        var reasons: [String] = []
        if draining { reasons.append("draining: it takes no new work") }
        if !joined { reasons.append("not joined to a broker" + (refusal.map { ": " + $0 } ?? "")) }
        reasons += preloadsOutstanding
        if let mend { reasons.append("this machine cannot prepare tasks, and takes none for a while: " + mend) }
        return Readiness(reasons: reasons)
    }

    /// The worker's part of `/metrics`.
    var families: [MetricFamily] {
        [
            MetricFamily("scriptorium_worker_joined", .gauge, help: "Whether a broker has taken this worker in.", value: joined ? 1 : 0),
            MetricFamily("scriptorium_num_requests_running", .gauge, help: "Tasks that run here.", value: Double(tasksRunning)),
            MetricFamily("scriptorium_num_requests_waiting", .gauge, help: "Tasks granted and not started yet.", value: Double(tasksWaiting)),
            MetricFamily("scriptorium_unrecorded", .gauge, help: "Ends that no broker has recorded yet.", value: Double(tasksUnrecorded)),
            MetricFamily("scriptorium_slots", .gauge, help: "Sequences that can run at once.", value: Double(slots)),
            MetricFamily("scriptorium_slots_taken", .gauge, help: "Sequences that run now.", value: Double(slotsTaken)),
            MetricFamily("scriptorium_tokens_total", .counter, help: "Tokens generated or trained on.", value: Double(tokensTotal)),
            MetricFamily("scriptorium_models_loaded", .gauge, help: "Models in memory.", value: Double(modelsLoaded.count)),
            MetricFamily("scriptorium_model_loads_total", .counter, help: "Models loaded since the start.", value: Double(modelLoadsTotal)),
            MetricFamily(
                "scriptorium_model_load_failures_total", .counter, help: "Models that could not be loaded.", value: Double(modelLoadFailuresTotal)),
            MetricFamily(
                "scriptorium_malformed_broker_messages_total", .counter, help: "Messages from brokers that were none.",
                value: Double(malformedTotal)),
            buildInfo,
        ]
    }
}

extension BrokerCounters {
    /// Everything that this broker counts.
    var families: [MetricFamily] {
        let plain: [(name: String, help: String, value: Int)] = [
            ("submitted_total", "Tasks accepted.", submitted), ("recorded_total", "Completions recorded.", recorded),
            ("failed_total", "Tasks that ended failed.", failed), ("cancelled_total", "Tasks that ended cancelled.", cancelled),
            ("lease_losses_total", "Leases that ended because their worker died.", leaseLosses),
            ("training_steps_dropped_total", "Logged training steps dropped while the database was away.", droppedTrainingSteps),
            ("retries_total", "Attempts that are tried again.", retries),
            ("lapsed_total", "Leases that lapsed: with their worker, by a stall or over their time.", lapsed),
            ("missed_work_total", "Times that due work stood beside free room until everything was looked at.", missedWork),
            ("stale_writes_total", "Writes refused because their lease was not current.", staleWrites),
            ("tokens_total", "Tokens reported by workers.", tokens), ("grants_total", "Leases handed to workers.", grants),
            ("released_total", "Leases given back uncounted.", released),
            ("malformed_requests_total", "Messages on the tasks endpoint that were no request.", malformedRequests),
            ("artifact_bytes_in_total", "Bytes of artifacts that came in.", artifactBytesIn),
            ("artifact_bytes_out_total", "Bytes of artifacts that went out.", artifactBytesOut),
        ]
        let labelled = { (counts: [String: Int], label: String) in
            counts.keys.sorted().map { MetricFamily.Sample(Double(counts[$0] ?? 0), labels: [(name: label, value: $0)]) }
        }
        return plain.map { MetricFamily("scriptorium_\($0.name)", .counter, help: $0.help, value: Double($0.value)) } + [
            MetricFamily("scriptorium_requests_total", .counter, help: "Requests by operation.", samples: labelled(requests, "op")),
            MetricFamily("scriptorium_refusals_total", .counter, help: "Refused requests by error code.", samples: labelled(refusals, "code")),
        ]
    }
}
