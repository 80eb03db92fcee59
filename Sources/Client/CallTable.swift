internal import Encodings

/// What a client has asked and not been answered: who waits, what was sent, what may be sent again. Pure: time is a parameter, in seconds.
///
/// A call is *unsent* until the current connection took it. When the client gives a broker up, or has a new connection to it, calls that may be
/// repeated become unsent again; of others it is unknown whether they were accepted, and they fail.
struct CallTable {
    /// One call.
    struct Call {
        let payload: [UInt8]
        /// Whether sending it twice changes nothing (a submit: every task has a key).
        let isRepeatable: Bool
        /// Whether more than one reply belongs to it.
        let isStream: Bool
        /// When it fails; nil: as long as the broker lives.
        var deadline: Double?
        var isSent = false
        /// Not before: after `busy` or `unavailable`.
        var notBefore = 0.0
        var refusals = 0
        /// When a call without a deadline was first refused, since it was last answered.
        var refusedSince: Double?
        let answer: @Sendable (Result<Node, ClientError>) -> Void
    }

    private(set) var calls: [Int64: Call] = [:]
    private var order: [Int64] = []

    var isEmpty: Bool { calls.isEmpty }
    /// Whether something was sent and waits for an answer.
    var isWaiting: Bool { calls.values.contains { $0.isSent } }

    mutating func add(_ id: Int64, _ call: Call) {
        calls[id] = call
        order.append(id)
    }

    @discardableResult
    mutating func remove(_ id: Int64) -> Call? {
        guard let call = calls.removeValue(forKey: id) else { return nil }
        order.removeAll { $0 == id }
        return call
    }

    /// The next call to send now, in the order in which they were made.
    func nextUnsent(now: Double) -> (id: Int64, payload: [UInt8])? {
        for id in order {
            if let call = calls[id], !call.isSent, call.notBefore <= now { return (id, call.payload) }
        }
        return nil
    }

    mutating func markSent(_ id: Int64) { calls[id]?.isSent = true }

    /// Whether something was sent that nobody may send twice, and has no answer.
    var awaitsUnrepeatable: Bool { calls.values.contains { $0.isSent && !$0.isRepeatable } }

    /// Puts a refused call back, to be sent again after a pause that doubles from 0.1 to 1.6 s.
    /// - Parameter patience: seconds that a call without a deadline of its own is refused in a row before it fails.
    /// - Returns: false where its deadline comes first: it is to be answered as it is.
    mutating func postpone(_ id: Int64, now: Double, patience: Double) -> Bool {
        guard var call = calls[id] else { return false }
        let since = call.refusedSince ?? now
        call.refusedSince = since
        let deadline = call.deadline ?? since + patience
        let pause = 0.1 * Double(1 << min(call.refusals, 4))
        guard now + pause < deadline else { return false }
        call.refusals += 1
        call.notBefore = now + pause
        call.isSent = false
        calls[id] = call
        return true
    }

    /// A call that goes on was answered.
    mutating func heard(_ id: Int64) {
        guard calls[id]?.refusedSince != nil else { return }
        calls[id]?.refusals = 0
        calls[id]?.refusedSince = nil
    }

    /// The connection is given up, or was made anew: what may be repeated becomes unsent, the rest is removed and returned.
    mutating func connectionLost() -> [Call] {
        var lost: [Call] = []
        for id in order {
            guard let call = calls[id], call.isSent else { continue }
            if call.isRepeatable { calls[id]?.isSent = false } else if let call = remove(id) { lost.append(call) }
        }
        return lost
    }

    /// Removes and returns what is past its deadline.
    mutating func expired(now: Double) -> [Call] {
        order.filter { id in calls[id].map { ($0.deadline ?? .infinity) <= now } ?? false }.compactMap { remove($0) }
    }

    /// Removes and returns everything.
    mutating func removeAll() -> [Call] {
        let all = order.compactMap { calls[$0] }
        calls = [:]
        order = []
        return all
    }

    /// When something here is due next.
    func nextTime(after now: Double) -> Double {
        calls.values.reduce(.infinity) { soonest, call in
            min(soonest, call.deadline ?? .infinity, !call.isSent && call.notBefore > now ? call.notBefore : .infinity)
        }
    }
}
