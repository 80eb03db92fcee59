import TaskProtocol
import Worker

extension SimulatedWorld {
    func startWorker(_ index: Int) {
        let worker = workers[index]
        guard !worker.isUp else { return }
        worker.epoch += 1
        worker.clockOffset = fate.number(1_000_000)
        let session = SessionID(hi: fate.random.next(), lo: fate.random.next())
        let registration = Self.registration(index, session: session, slots: 1 + Int(fate.number(4)))
        worker.isUp = true
        worker.core.pointee = WorkerCore(
            WorkerCore.Settings(
                registration: registration, brokers: brokers.indices.map { "\($0)" }, drainMilliseconds: 2_000,
                preloads: preloads, demand: Demands.of))
        queue.add(.workerTick(index, epoch: worker.epoch), at: now)
    }

    static func registration(_ index: Int, session: SessionID, slots: Int) -> WorkerRegistration {
        WorkerRegistration(
            session: session, host: "w\(index)", pid: index, version: "1", numerics: ["float32/1"], instructionSet: "plain", threads: 1, slots: slots,
            parameters: TaskParameters.knownNames)
    }

    func endWorker(_ index: Int) {
        guard workers[index].isUp else { return }
        crashes += 1
        loseWorker(index)
        queue.add(.startWorker(index), at: now + 100 + fate.number(3_000))
    }

    private func loseWorker(_ index: Int) {
        let worker = workers[index]
        worker.isUp = false
        worker.epoch += 1
        worker.standsUntil = 0
        worker.engine = SimulatedEngine()
        worker.link = nil
    }

    func tellWorker(_ index: Int, _ input: WorkerInput) {
        let worker = workers[index]
        guard worker.isUp else { return }
        var actions = workerActions
        workerActions = []
        worker.core.pointee.handle(input, now: now + worker.clockOffset, into: &actions)
        let epoch = worker.epoch
        for action in actions where worker.epoch == epoch { perform(action, of: index) }
        actions.removeAll(keepingCapacity: true)
        workerActions = actions
    }

    private func perform(_ action: WorkerAction, of index: Int) {
        let worker = workers[index]
        switch action {
        case .connect(let link, let endpoint):
            addresses += 1
            worker.link = (link, Int(endpoint) ?? 0, withUnsafeBytes(of: addresses) { Array($0) })
        case .learnKeys: break
        case .disconnect: worker.link = nil
        case .send(let id, let message):
            guard let link = worker.link, link.id == id else { return faults.append("a message over a closed link") }
            var point: Point? = .message
            if case .heartbeat = message { point = nil }
            if case .register(let registration) = message { lists(registration) }
            let epoch = brokers[link.broker].epoch
            send(point) { .toBroker(link.broker, epoch: epoch, address: link.address, message) }
        case .start(let grant):
            let plan = worker.engine.start(grant, Demands.of(grant))
            let load = worker.engine.lacksModel(grant.lease) ? fate.load(now) : nil
            if load?.snoozes == true { worker.engine.snoozes(grant.lease) }
            queue.add(.engine(index, epoch: worker.epoch, grant.lease, plan: plan), at: now + 1 + fate.number(300) + (load?.time ?? 0))
        case .stop(let lease, _):
            guard let plan = worker.engine.replan(lease) else { return }
            queue.add(.engineStopped(index, epoch: worker.epoch, lease, plan: plan), at: now + fate.number(200))
        case .preload(let preload):
            queue.add(.preloaded(index, epoch: worker.epoch, number: preload.number), at: now + 1 + fate.number(3_000))
        case .note: break
        case .exit:
            loseWorker(index)
            queue.add(.startWorker(index), at: now + 100 + fate.number(2_000))
        }
    }

    // MARK: Engine

    func endPreload(_ index: Int, _ number: Int) {
        // A load in vain is tried again after minutes: once the trouble is over there is none.
        let isVain = fate.isTroubled(now) && fate.happens(fate.weather.failures)
        if !isVain { tellWorker(index, .engine(.models([String(repeating: "1", count: 64)]))) }
        tellWorker(index, .engine(.preloaded(number, isVain ? ContractError(.internalError, "bad luck") : nil)))
    }

    func stopEngine(_ index: Int, _ lease: LeaseID, _ plan: Int) {
        guard workers[index].engine.task(lease, plan: plan) != nil else { return }
        workers[index].engine.forget(lease)
        tellWorker(index, .engine(.stopped(lease, resume: nil)))
    }

    func runEngine(_ index: Int, _ lease: LeaseID, _ plan: Int) {
        let worker = workers[index]
        guard let task = worker.engine.task(lease, plan: plan) else { return }
        if task.snoozes {
            worker.engine.forget(lease)
            return tellWorker(index, .engine(.snoozed(lease)))
        }
        if task.steps == 0 {
            if fate.isTroubled(now), fate.happens(fate.weather.machineFaults) {
                machineFaults += 1
                worker.engine.forget(lease)
                let artifact = machineFaults.isMultiple(of: 3) ? nil : "artifact \(machineFaults % 3)"
                return tellWorker(index, .engine(.unfit(lease, MachineFault(mend: "its disk", artifact: artifact))))
            }
            if fate.weather.snoozes != nil, worker.engine.lacksModel(lease) {
                worker.engine.hasModel = true
                tellWorker(index, .engine(.models([String(repeating: "1", count: 64)])))
            }
            tellWorker(index, .engine(.started(lease)))
        }
        worker.engine.step(lease)
        let work = fate.work(now)
        if task.steps < work.steps {
            if task.isFinetune {
                tellWorker(index, .engine(.checkpoint(lease, step: task.steps, record: nil, resume: Array("{}".utf8))))
            } else {
                tellWorker(index, .engine(.events(lease, [.token(sample: 0, draw: 0, index: task.steps, tokenID: 1, text: "a")])))
            }
            queue.add(.engine(index, epoch: worker.epoch, lease, plan: plan), at: now + work.next)
            return
        }
        worker.engine.forget(lease)
        // Once all is calm nothing fails any more: pauses of a minute are only waiting.
        if fate.isTroubled(now), fate.happens(fate.weather.failures) {
            tellWorker(index, .engine(.failed(lease, error: ContractError(.internalError, "bad luck"), final: fate.happens(300))))
        } else {
            tellWorker(index, .engine(.finished(lease, generations: SimulatedEngine.texts(of: task), result: nil)))
        }
    }
}
