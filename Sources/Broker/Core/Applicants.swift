internal import TaskProtocol

/// A worker that said `register`, and what it said.
struct Applicant: Sendable {
    var registration: WorkerRegistration
    var address: [UInt8]
    /// The public key under which it was let in; nil where there are none.
    var key: String?
    var heardAt: Int64
}

/// Workers whose sessions the store has not taken yet. Everybody can name a session's id, and only the store knows under which key it stands: until it has
/// judged, a word makes nobody a session here, ends none, and keeps nobody else's from being judged.
struct Applicants: Sendable {
    private struct ID: Hashable, Sendable {
        var session: SessionID
        var key: String?
    }

    private var all: [ID: Applicant] = [:]

    /// Remembers the last word of a worker.
    /// - Returns: false where one of a later epoch is known: this one counts no more.
    mutating func take(_ applicant: Applicant) -> Bool {
        let id = ID(session: applicant.registration.session, key: applicant.key)
        if let known = all[id], known.registration.epoch > applicant.registration.epoch { return false }
        all[id] = applicant
        return true
    }

    func contains(_ session: SessionID, under key: String?) -> Bool { all[ID(session: session, key: key)] != nil }

    /// It has gone: what the store says of it makes nothing any more.
    mutating func remove(_ session: SessionID, under key: String?) { all[ID(session: session, key: key)] = nil }

    /// The one that the store has taken, and its last word, which may be later than the one that was taken.
    mutating func remove(_ registration: SessionRegistration) -> Applicant? {
        all.removeValue(forKey: ID(session: registration.session, key: registration.publicKey))
    }

    /// A word came to nothing; a later one may still be judged.
    mutating func refuse(_ registration: SessionRegistration) {
        let id = ID(session: registration.session, key: registration.publicKey)
        if let known = all[id], known.registration.epoch <= registration.epoch { all[id] = nil }
    }

    mutating func remove(keys: Set<String>) { all = all.filter { id, _ in !(id.key.map(keys.contains) ?? false) } }

    /// Who says `register` no more has gone elsewhere.
    mutating func forgetSilent(now: Int64, after: Int64) {
        if !all.isEmpty { all = all.filter { now - $0.value.heardAt <= after } }
    }
}
