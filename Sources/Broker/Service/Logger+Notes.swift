internal import Logging
internal import Messaging
internal import TaskProtocol

extension Logger {
    /// Writes what the logic found worth a line: one message an event, values in the metadata.
    func log(_ note: BrokerNote) {
        switch note {
        case .storeAway(let why): warning("the database is away", metadata: ["error": "\(why)"])
        case .storeBack: notice("the database is back")
        case .workerJoined(let session, let host, let pid, let slots):
            info("worker joined", metadata: ["session": "\(session)", "host": "\(host)", "pid": "\(pid)", "slots": "\(slots)"])
        case .workerLeft(let session, let why): info("worker left", metadata: ["session": "\(session)", "why": "\(why)"])
        case .sessionDead(let session): warning("session is dead", metadata: ["session": "\(session)"])
        case .leaseReleased(let task, let lease, let why):
            info("lease given back", metadata: ["task": "\(task)", "lease": "\(lease)", "why": "\(why)"])
        case .attemptFailed(let task, let attempt, let code, let final):
            info("attempt failed", metadata: ["task": "\(task)", "attempt": "\(attempt)", "code": "\(code)", "final": "\(final)"])
        case .staleWrite(let task, let lease): info("stale write refused", metadata: ["task": "\(task)", "lease": "\(lease)"])
        case .storeRefused(let why): error("the database refused a request", metadata: ["error": "\(why)"])
        case .scheduleUnreadable(let name): warning("schedule cannot be read by this version", metadata: ["schedule": "\(name)"])
        case .monthDropped(let month): notice("month dropped", metadata: ["month": "\(month)"])
        case .monthHeld(let held): notice("month held back", metadata: ["month": "\(held.month)", "why": "\(held.reason)"])
        case .monthBusy(let month): notice("month is in use, it is tried again", metadata: ["month": "\(month)"])
        case .monthRefused(let refused): error("month cannot be dropped", metadata: ["month": "\(refused.month)", "error": "\(refused.reason)"])
        case .unknownAnswer(let what): warning("message ignored", metadata: ["what": "\(what)"])
        }
    }

    /// Writes whom the authenticator did not let in, and what became of a changed list.
    func log(_ note: AccessNote) {
        switch note {
        case .refused(let key, let address, let domain, let why, let unsaid):
            warning(
                "key refused",
                metadata: [
                    "key": "\(key?.fingerprint ?? "none")", "address": "\(address)", "endpoint": "\(domain)", "why": "\(why)", "unsaid": "\(unsaid)",
                ])
        case .handshakeFailed(let domain, let why, let unsaid):
            warning("handshake failed", metadata: ["endpoint": "\(domain)", "why": "\(why)", "unsaid": "\(unsaid)"])
        case .listTaken(let path, let keys): notice("list of keys taken", metadata: ["path": "\(path)", "keys": "\(keys)"])
        case .listKept(let fault): error("list of keys not taken, the last good one stays in force", metadata: ["error": "\(fault)"])
        }
    }
}
