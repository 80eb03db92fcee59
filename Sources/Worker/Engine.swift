import Encodings
import FoundationEssentials
import Generation
import Kernels
import LanguageModels
import TaskProtocol

/// What runs tasks: one step at a time for all sequences of a model, then the next model, then a finetune's step; between steps it
/// takes commands. It knows neither brokers nor sockets, and everything that it says is an ``EngineReport``.
///
/// Not Sendable: it lives on one thread, which owns the thread pool.
final class Engine {
    /// What an engine is given for life.
    struct Settings {
        var slots: Int
        /// Models in memory may take so much.
        var modelBytes: Int
        /// Where finetunes write on their way to the store.
        var workFolder: String
        /// Signs the proof record of every text; nil: nobody vouches.
        var signingKey: SigningKey?
    }

    private let settings: Settings
    private let pool: ThreadPool
    private let checkpoints: (PreparedFinetune, String) -> CheckpointStore
    private let load: (LoadJob) -> Void
    private let report: (EngineReport) -> Void
    private let countTokens: (Int) -> Void
    private let isUnwanted: (LeaseID) -> Bool
    private let complain: (EngineComplaint) -> Void
    private var shelf: ModelShelf
    private var preparing: [PreparingTask] = []
    private var loading = ModelLoads()
    /// What was last said of it.
    private var isLoadingLong = false
    private var generating: [GenerateRun] = []
    private var finetuning: FinetuneRun?
    private var verifying: [VerifyRun] = []
    private var events: [GenerationEvent] = []
    /// Models that had no room when they were loaded, beside those at work or, as preloads, beside the others.
    private var crowded = CrowdedModels()
    /// Preloads whose model is on its way.
    private var preloading: [Preload] = []
    /// Models that were preloaded, or are about to make their token: together they have to fit.
    private var preloaded: Set<ModelIdentity> = []

    /// A task whose model or data is on its way.
    private struct PreparingTask {
        let lease: LeaseID
        let task: ResolvedTask
        /// The model that it waits for; nil for a finetune.
        let model: ModelIdentity?
        let stop: StopFlag
    }

    /// - Parameters:
    ///   - checkpoints: makes the store of a finetune's states, given what it needs and its work folder.
    ///   - load: hands a job to whoever loads; the answer comes back as a command.
    ///   - isUnwanted: whether nobody wants a task's state any more: it was cancelled, or its lease is lost, and the stop is on its way.
    ///   - complain: what is to be told to this machine's keeper.
    ///   - report: what is to be told to brokers.
    init(
        settings: Settings, pool: ThreadPool, checkpoints: @escaping (PreparedFinetune, String) -> CheckpointStore,
        load: @escaping (LoadJob) -> Void, countTokens: @escaping (Int) -> Void, isUnwanted: @escaping (LeaseID) -> Bool = { _ in false },
        complain: @escaping (EngineComplaint) -> Void, report: @escaping (EngineReport) -> Void
    ) {
        self.settings = settings
        self.pool = pool
        self.checkpoints = checkpoints
        self.load = load
        self.countTokens = countTokens
        self.isUnwanted = isUnwanted
        self.complain = complain
        self.report = report
        shelf = ModelShelf(byteLimit: settings.modelBytes)
    }

    /// Takes a command. False at the end.
    func handle(_ command: EngineCommand, now: Milliseconds) -> Bool {
        switch command {
        case .start(let grant): start(grant, now: now)
        case .preload(let preload): self.preload(preload, now: now)
        case .stop(let lease, let reason): stop(lease, reason, now: now)
        case .modelLoaded(let identity, let result): modelLoaded(identity, result, now: now)
        case .modelLoading(let identity, let progress): modelLoading(identity, progress, now: now)
        case .finetunePrepared(let lease, let result): finetunePrepared(lease, result, now: now)
        case .finetunePreparing(let lease, let progress): finetunePreparing(lease, progress, now: now)
        case .end: return false
        }
        return true
    }

    /// When there is something to do though no command comes; nil where there is nothing.
    var waitsUntil: Milliseconds? { finetuning?.waitsUntil ?? (isLoadingLong ? nil : loading.longFrom) }

    /// One unit of work.
    /// - Returns: false where there was nothing to do.
    func turn(now: Milliseconds) -> Bool {
        var didWork = makeRoom(now: now)
        for seat in shelf.seats where !seat.isIdle {
            step(seat, now: now)
            didWork = true
        }
        if !verifying.isEmpty {
            didWork = true
            verifying.removeAll { $0.turn(now: now) == .ended }
        }
        if let run = finetuning { didWork = step(run, now: now) || didWork }
        // A loader may say nothing for long.
        if !isLoadingLong, loading.isHeldUp(now: now) { sayLoading(now: now) }
        return didWork
    }

    private func step(_ run: FinetuneRun, now: Milliseconds) -> Bool {
        let before = run.stepsDone
        let outcome = run.turn(now: now)
        countTokens((run.stepsDone - before) * run.tokensPerStep)
        if outcome == .ended { endFinetune() }
        return outcome != .waits
    }

    // MARK: Starting

    private func start(_ grant: WorkerGrant, now: Milliseconds) {
        do throws(ContractError) {
            let task = try ResolvedTask.decode(grant.resolved)
            switch task.parameters {
            case .generate(let parameters): try startGenerate(grant.lease, task, parameters, now: now)
            case .finetune: startFinetune(grant, task)
            case .verify(let parameters): startVerify(grant.lease, task, parameters, now: now)
            }
        } catch { report(.failed(grant.lease, error: error, final: true)) }
    }

    private func startGenerate(_ lease: LeaseID, _ task: ResolvedTask, _ parameters: GenerateParameters, now: Milliseconds) throws(ContractError) {
        guard let model = task.model else { throw ContractError(.internalError, "the task's model was not pinned") }
        let identity = ModelIdentity(model, parameters.precision)
        if let seat = shelf.seat(identity, now: now) { return run(lease, task, parameters, on: seat, now: now) }
        prepare(lease, task, model, parameters.precision, now: now)
    }

    /// Lets a task wait for its model.
    private func prepare(_ lease: LeaseID, _ task: ResolvedTask, _ model: ResolvedModel, _ precision: Precision, now: Milliseconds) {
        let identity = ModelIdentity(model, precision)
        let entry = PreparingTask(lease: lease, task: task, model: identity, stop: StopFlag())
        if let bytes = crowded.byteCount(of: identity), !shelf.hasRoom(for: bytes) {
            guard crowded.asked(identity, now: now) else { return report(.snoozed(lease)) }
            preparing.append(entry)
            return report(.makingRoom(true))
        }
        preparing.append(entry)
        // Behind what takes long nobody here would wait for it.
        if !loading.isHeldUp(now: now) { fetch(model, precision) }
        snoozeWaiting(for: identity, now: now)
    }

    /// Loads the model that room is made for, once what kept it out has ended.
    /// - Returns: whether it has just been asked for.
    @discardableResult
    private func makeRoom(now: Milliseconds) -> Bool {
        guard let identity = crowded.madeFor else { return false }
        guard let model = preparing.first(where: { $0.model == identity })?.task.model else {
            endMakingRoom()
            return false
        }
        guard crowded.byteCount(of: identity).map(shelf.hasRoom(for:)) ?? true, !loading.isHeldUp(now: now) else { return false }
        return fetch(model, identity.precision)
    }

    private func endMakingRoom() {
        crowded.endMaking()
        report(.makingRoom(false))
    }

    /// Asks the loader for a model, once.
    @discardableResult
    private func fetch(_ model: ResolvedModel, _ precision: Precision) -> Bool {
        guard loading.ask(ModelIdentity(model, precision)) else { return false }
        load(.model(model, precision))
        return true
    }

    /// Where a model takes long, all but the first of those that wait for it go back; where it only stands behind what takes long, that one too: its
    /// `timeout_s` runs, and what comes first may take minutes.
    private func snoozeWaiting(for identity: ModelIdentity, now: Milliseconds) {
        guard loading.isLong(identity, now: now) else { return }
        let kept = loading.hasBegun(identity) ? 1 : 0
        let given = Set(preparing.lazy.filter { $0.model == identity }.dropFirst(kept).map(\.lease))
        preparing.removeAll { given.contains($0.lease) }
        for lease in given.sorted() { report(.snoozed(lease)) }
        sayLoading(now: now)
    }

    private func sayLoading(now: Milliseconds) {
        // Also where no task waits here: those that came would stand behind it.
        let isLong = loading.isHeldUp(now: now) || preparing.contains { entry in entry.model.map { loading.isLong($0, now: now) } ?? false }
        guard isLong != isLoadingLong else { return }
        isLoadingLong = isLong
        report(.loadingLong(isLong))
    }

    private func startVerify(_ lease: LeaseID, _ task: ResolvedTask, _ parameters: VerifyParameters, now: Milliseconds) {
        guard let model = task.model else {
            return verify(lease, task, parameters, on: .failure(.model("no checkpoint has this digest any more")), now: now)
        }
        let precision = task.textPrecision
        if let seat = shelf.seat(ModelIdentity(model, precision), now: now) { return verify(lease, task, parameters, on: .success(seat), now: now) }
        prepare(lease, task, model, precision, now: now)
    }

    private func verify(
        _ lease: LeaseID, _ task: ResolvedTask, _ parameters: VerifyParameters, on seat: Result<ModelSeat, TaskFault>, now: Milliseconds
    ) {
        do throws(TaskFault) {
            verifying.append(try VerifyRun(lease: lease, task: task, parameters: parameters, seat: seat, now: now, report: report))
        } catch { report(error.report(lease)) }
    }

    private func run(_ lease: LeaseID, _ task: ResolvedTask, _ parameters: GenerateParameters, on seat: ModelSeat, now: Milliseconds) {
        do throws(TaskFault) {
            generating.append(
                try GenerateRun(
                    lease: lease, task: task, parameters: parameters, seat: seat, slots: settings.slots, signingKey: settings.signingKey,
                    now: now))
        } catch { report(error.report(lease)) }
    }

    private func startFinetune(_ grant: WorkerGrant, _ task: ResolvedTask) {
        shelf.dropIdle()
        report(.models(shelf.keys))
        let stop = StopFlag()
        preparing.append(PreparingTask(lease: grant.lease, task: task, model: nil, stop: stop))
        load(.finetune(grant.lease, task, resume: grant.resume.flatMap(ResumeReference.init(json:)), stop: stop))
    }

    // MARK: What was prepared

    private func modelLoaded(_ identity: ModelIdentity, _ result: Result<LoadedModel, TaskFault>, now: Milliseconds) {
        loading.ended(identity)
        let waiting = preparing.filter { $0.model == identity }
        preparing.removeAll { $0.model == identity }
        let preloads = preloading.filter { $0.identity == identity }
        preloading.removeAll { $0.identity == identity }
        defer {
            sayLoading(now: now)
            if crowded.madeFor == identity { endMakingRoom() }
        }
        do throws(TaskFault) {
            let loaded = try result.get()
            guard hasRoom(for: loaded, identity) else {
                if !waiting.isEmpty { crowded.refused(identity, now: now) }
                for entry in waiting { report(.snoozed(entry.lease)) }
                for preload in preloads { report(.preloaded(preload.number, Self.noRoom)) }
                return
            }
            if waiting.isEmpty, !preloads.isEmpty, !fitsBesidePreloaded(loaded.model.weightsByteCount) {
                crowded.hadNoRoom(identity, byteCount: loaded.model.weightsByteCount)
                for preload in preloads { report(.preloaded(preload.number, Self.tooMuchTogether)) }
                return
            }
            let seat: ModelSeat
            do throws(ModelError) {
                seat = try ModelSeat(identity: identity, loaded: loaded, slots: settings.slots, pool: pool)
            } catch { throw TaskFault(error) }
            shelf.add(seat, now: now)
            report(.models(shelf.keys))
            for entry in waiting {
                switch entry.task.parameters {
                case .generate(let parameters): run(entry.lease, entry.task, parameters, on: seat, now: now)
                case .verify(let parameters): verify(entry.lease, entry.task, parameters, on: .success(seat), now: now)
                case .finetune: break
                }
            }
            for preload in preloads { pass(preload, on: seat) }
        } catch {
            if error.machine != nil { complain(.cannotPrepare(error)) }
            for preload in preloads { report(.preloaded(preload.number, error.error)) }
            for entry in waiting {
                if case .verify(let parameters) = entry.task.parameters {
                    verify(entry.lease, entry.task, parameters, on: .failure(error), now: now)
                } else {
                    report(error.report(entry.lease))
                }
            }
        }
    }

    private func hasRoom(for loaded: LoadedModel, _ identity: ModelIdentity) -> Bool {
        let bytes = loaded.model.weightsByteCount
        let fits = shelf.hasRoom(for: bytes)
        if fits { crowded.hadRoom(identity) } else { crowded.hadNoRoom(identity, byteCount: bytes) }
        return fits
    }

    // MARK: Preloads

    private func preload(_ preload: Preload, now: Milliseconds) {
        if let seat = shelf.seat(preload.identity, now: now) { return pass(preload, on: seat) }
        if let bytes = crowded.byteCount(of: preload.identity) {
            guard shelf.hasRoom(for: bytes) else { return report(.preloaded(preload.number, Self.noRoom)) }
            guard fitsBesidePreloaded(bytes) else { return report(.preloaded(preload.number, Self.tooMuchTogether)) }
        }
        preloading.append(preload)
        fetch(preload.model, preload.precision)
    }

    /// Lets a model make the one token that shows that it can.
    private func pass(_ preload: Preload, on seat: ModelSeat) {
        do throws(GenerationError) {
            seat.passes[try seat.scheduler.add(.oneToken)] = preload
            preloaded.insert(preload.identity)
        } catch { report(.preloaded(preload.number, TaskFault(error, hasPromptList: false).error)) }
    }

    /// Takes what a step said about a request that is no task's.
    private func take(_ event: GenerationEvent, of seat: ModelSeat) {
        guard let preload = seat.passes[event.request] else { return }
        let fault: ContractError?
        switch event {
        case .token, .sample: return
        case .finished: fault = nil
        case .failed(_, let error): fault = TaskFault(error, hasPromptList: false).error
        case .cancelled: fault = ContractError(.internalError, "its first token was cut off")
        }
        seat.passes[event.request] = nil
        if fault != nil { preloaded.remove(preload.identity) }
        report(.preloaded(preload.number, fault))
    }

    /// Whether a model leaves those in memory that were preloaded before it: one that pushed out another would be preloaded for nothing.
    private func fitsBesidePreloaded(_ byteCount: Int) -> Bool {
        let others = shelf.seats.reduce(0) { preloaded.contains($1.identity) ? $0 + $1.loaded.model.weightsByteCount : $0 }
        return others == 0 || others + byteCount <= settings.modelBytes
    }

    private static let noRoom = ContractError(.tooLarge, "there is no room in --cache-bytes beside the models at work")
    private static let tooMuchTogether = ContractError(.tooLarge, "there is no room in --cache-bytes beside the models preloaded before it")

    private func modelLoading(_ identity: ModelIdentity, _ progress: WorkerProgress, now: Milliseconds) {
        loading.goesOn(identity, now: now)
        for model in loading.asked { snoozeWaiting(for: model, now: now) }
        let waiting = preparing.filter { $0.model == identity }
        for entry in waiting { report(.progress(entry.lease, progress, steps: [])) }
        // Once a task has shown a sign it needs its own ones.
        if let first = preparing.first, !waiting.contains(where: { $0.lease == first.lease }) { loaderGoesOn() }
        sayLoading(now: now)
    }

    /// The loader is at something that no task here waits for: a preload, or what a task wanted that has been stopped. For those that stand behind it that
    /// is a sign of life.
    private func loaderGoesOn() {
        guard let first = preparing.first else { return }
        report(.progress(first.lease, WorkerProgress(phase: .loading, done: 0), steps: []))
    }

    /// A finetune's data cannot be cut short everywhere: what was stopped goes on for a while, and the models behind it take long.
    private func finetunePreparing(_ lease: LeaseID, _ progress: WorkerProgress, now: Milliseconds) {
        if preparing.contains(where: { $0.lease == lease }) { return report(.progress(lease, progress, steps: [])) }
        loading.standBehind(now: now)
        for model in loading.asked { snoozeWaiting(for: model, now: now) }
        loaderGoesOn()
        sayLoading(now: now)
    }

    private func finetunePrepared(_ lease: LeaseID, _ result: Result<PreparedFinetune, TaskFault>, now: Milliseconds) {
        loading.standsFree()
        defer { sayLoading(now: now) }
        guard let index = preparing.firstIndex(where: { $0.lease == lease }) else { return removeWorkFolder(lease) }
        preparing.remove(at: index)
        do throws(TaskFault) {
            let prepared = try result.get()
            finetuning = try FinetuneRun(
                lease: lease, prepared: prepared, pool: pool, checkpoints: checkpoints(prepared, workFolder(lease)), now: now,
                isUnwanted: { [isUnwanted] in isUnwanted(lease) }, complain: complain, report: report)
        } catch {
            if error.machine != nil { complain(.cannotPrepare(error)) }
            removeWorkFolder(lease)
            report(error.report(lease))
        }
    }

    // MARK: Steps

    private func step(_ seat: ModelSeat, now: Milliseconds) {
        events.removeAll(keepingCapacity: true)
        countTokens(seat.scheduler.runningCount)
        seat.scheduler.step(into: &events)
        var ends: [EngineReport] = []
        for event in events {
            guard let lease = seat.leases[event.request], let index = generating.firstIndex(where: { $0.lease == lease }) else {
                take(event, of: seat)
                continue
            }
            generating[index].take(event)
            guard let end = generating[index].end(event) else { continue }
            for said in generating[index].reports(now: now) { report(said) }
            ends.append(end)
            generating.remove(at: index)
            seat.leases[event.request] = nil
        }
        for index in generating.indices where generating[index].seat === seat {
            for said in generating[index].reports(now: now) { report(said) }
        }
        for end in ends { report(end) }
    }

    // MARK: Stopping

    private func stop(_ lease: LeaseID, _ reason: StopReason, now: Milliseconds) {
        if let index = preparing.firstIndex(where: { $0.lease == lease }) {
            preparing[index].stop.raise()
            preparing.remove(at: index)
            report(.stopped(lease, resume: nil))
            makeRoom(now: now)
            sayLoading(now: now)
        } else if let run = generating.first(where: { $0.lease == lease }) {
            run.seat.scheduler.cancel(run.request)
        } else if let index = verifying.firstIndex(where: { $0.lease == lease }) {
            verifying.remove(at: index).end()
            report(.stopped(lease, resume: nil))
        } else if let run = finetuning, run.lease == lease {
            run.stop(reason)
            endFinetune()
        }
    }

    private func endFinetune() {
        if let run = finetuning { removeWorkFolder(run.lease) }
        finetuning = nil
    }

    private func workFolder(_ lease: LeaseID) -> String { "\(settings.workFolder)/\(lease)" }
    private func removeWorkFolder(_ lease: LeaseID) { try? FileManager.default.removeItem(atPath: workFolder(lease)) }
}

extension Preload {
    /// The model as engine and loader know it.
    fileprivate var identity: ModelIdentity { ModelIdentity(model, precision) }
}

extension GenerationRequest {
    /// The likeliest token behind the first of the vocabulary, which every model has: all of its weights take part.
    fileprivate static var oneToken: GenerationRequest {
        var parameters = SamplingParameters()
        (parameters.doSample, parameters.maxLength) = (false, 2)
        var text = TextOptions()
        text.nonemptyOutput = false
        return GenerationRequest(prompts: [""], promptTokenIDs: [[0]], parameters: parameters, text: text)
    }
}

extension GenerationEvent {
    /// Whose it is.
    fileprivate var request: Generation.RequestID {
        switch self {
        case .token(let id, _), .sample(let id, _), .finished(let id), .failed(let id, _), .cancelled(let id): id
        }
    }
}
