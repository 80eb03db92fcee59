import Client

/// Shows a task on the terminal: a bar while it runs, then what came of it.
struct TaskReport {
    let isJSON: Bool

    /// Follows a task to its end and prints its result.
    /// - Throws: ``CommandFailure/failed(_:)`` where it did not succeed.
    func follow(_ id: String, _ client: ScriptoriumClient) async throws {
        var bar = ProgressBar(total: 0, label: "waiting")
        var total = 0
        for try await message in client.watch(id) {
            guard case .update(let update) = message, case .progress(let progress) = update.body else { continue }
            if let steps = progress.numSteps, steps != total {
                total = steps
                bar = ProgressBar(total: steps, label: progress.phase ?? "running")
            }
            bar.update(progress.step, note: Self.note(progress))
        }
        bar.finish()
        try show(try await client.wait(id))
    }

    /// A progress in a few words.
    static func note(_ progress: TaskAdvance) -> String {
        [("loss", progress.loss), ("average", progress.averageLoss), ("tok/s", progress.tokensPerSecond)]
            .compactMap { name, value in value.map { "\(name) \(rounded($0))" } }.joined(separator: "  ")
    }

    private static func rounded(_ value: Double) -> String {
        value.magnitude >= 100 ? "\(Int(value))" : "\((value * 1000).rounded() / 1000)"
    }

    /// Prints a task that ended: its texts, or its result, or with `--json` the whole status.
    func show(_ task: TaskSnapshot) throws {
        if isJSON {
            print(task.json)
        } else if !task.texts.isEmpty {
            print(task.texts.map(\.text).joined(separator: "\n==========\n"))
        } else if let result = task.resultJSON {
            print(result)
        }
        guard task.state == "succeeded" else {
            throw CommandFailure.failed("task \(task.id) is \(task.state)" + (task.error.map { ": \($0)" } ?? ""))
        }
    }
}
