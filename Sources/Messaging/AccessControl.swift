internal import Synchronization

/// The allow-lists of a process's server sockets, as they are now. Shared: the authenticator's thread reads the files and answers, reactors ask.
///
///     let access = try AccessControl([.init(domains: ["tasks", "events"], files: ["clients.keys"]), .init(domains: ["workers"], files: […])])
package final class AccessControl: Sendable {
    /// Who is let in to some domains.
    package struct Rule: Sendable {
        /// The domains of the sockets that it holds for.
        let domains: [String]
        /// Let in whatever the files say.
        let keys: Set<CurvePublicKey>
        var files: [WatchedKeyList]

        /// - Throws: where a file is no list of keys.
        package init(domains: [String], files: [String] = [], keys: Set<CurvePublicKey> = []) throws(KeyFileError) {
            self.domains = domains
            self.keys = keys
            var lists: [WatchedKeyList] = []
            for file in files { lists.append(try WatchedKeyList(path: file)) }
            self.files = lists
        }

        var allowed: Set<CurvePublicKey> { files.reduce(keys) { $0.union($1.list.keys) } }
    }

    private struct State {
        var rules: [Rule]
        var policy: AccessPolicy
        /// Keys that were let in since the start and are no longer, by domain.
        var revoked: [String: Set<String>] = [:]
        var isReloadAsked = false
    }

    private let state: Mutex<State>
    private let changes = Atomic<UInt64>(0)
    /// Wakes the authenticator when a reload is asked for.
    let wakeup: Wakeup

    package init(_ rules: [Rule]) throws(MessagingError) {
        state = Mutex(State(rules: rules, policy: Self.policy(of: rules)))
        wakeup = try Wakeup()
    }

    private static func policy(of rules: [Rule]) -> AccessPolicy {
        var policy = AccessPolicy()
        for rule in rules { for domain in rule.domains { policy.allowed[domain, default: []].formUnion(rule.allowed) } }
        return policy
    }

    /// What the lists say now.
    package var policy: AccessPolicy { state.withLock { $0.policy } }

    /// Asks for all files to be read at once, without a second look: SIGHUP. From any thread.
    package func reload() {
        state.withLock { $0.isReloadAsked = true }
        wakeup.signal()
    }

    /// Reads the files and takes what changed. Blocks on them: for the authenticator's thread.
    func look() -> [AccessNote] {
        // Files are read outside the lock: only this thread changes the rules.
        var (rules, isFinal) = state.withLock { state in
            defer { state.isReloadAsked = false }
            return (state.rules, state.isReloadAsked)
        }
        var notes: [AccessNote] = []
        for rule in rules.indices {
            for file in rules[rule].files.indices {
                switch rules[rule].files[file].look(isFinal: isFinal) {
                case .unchanged: continue
                case .kept(let error): notes.append(.listKept(error))
                case .taken:
                    let taken = rules[rule].files[file]
                    notes.append(.listTaken(path: taken.path, keys: taken.list.names.count))
                }
            }
        }
        take(rules)
        return notes
    }

    private func take(_ rules: [Rule]) {
        let policy = Self.policy(of: rules)
        let isChanged = state.withLock { state in
            state.rules = rules
            guard policy != state.policy else { return false }
            for (domain, keys) in state.policy.allowed {
                let now = policy.allowed[domain] ?? []
                state.revoked[domain, default: []].formUnion(keys.subtracting(now).map(\.text))
                state.revoked[domain]?.subtract(now.map(\.text))
            }
            state.policy = policy
            return true
        }
        if isChanged { changes.add(1, ordering: .releasing) }
    }

    /// How often the lists have changed.
    fileprivate var generation: UInt64 { changes.load(ordering: .acquiring) }

    fileprivate var revoked: [String: Set<String>] { state.withLock { $0.revoked } }
}

/// One thread's view of the keys that were let in and are no longer.
///
/// libzmq asks for a key once a connection. Who was let in before its key went from the list would stay; so reactors ask here for each message.
/// Looking costs one load of an atomic; the lock is taken only after a change.
package struct RevokedKeys: Sendable {
    private let access: AccessControl?
    private var generation: UInt64 = 0
    private var keys: [String: Set<String>] = [:]
    /// What ``takeNew(in:)`` has told of.
    private var told: [String: Set<String>] = [:]

    /// - Parameter access: nil where there are no keys.
    package init(_ access: AccessControl?) { self.access = access }

    /// Whether any key of a domain is revoked.
    private mutating func isAny(in domain: String) -> Bool {
        guard let access else { return false }
        let now = access.generation
        if now != generation {
            generation = now
            keys = access.revoked
        }
        return keys[domain]?.isEmpty == false
    }

    /// Whether a key of a domain was revoked since this was last asked: who only listens is not met at a message, and has to be cut off.
    package mutating func takeNew(in domain: String) -> Bool {
        guard isAny(in: domain) || told[domain] != nil else { return false }
        let now = keys[domain] ?? []
        guard now != told[domain] else { return false }
        let isNew = !now.subtracting(told[domain] ?? []).isEmpty
        told[domain] = now
        return isNew
    }

    /// All keys of a domain that are shut out by now, in Z85.
    package mutating func all(in domain: String) -> Set<String> { isAny(in: domain) ? keys[domain] ?? [] : [] }

    /// Whether a message's sender is shut out by now.
    /// - Parameter user: as in ``Multipart/user``.
    package mutating func contains(_ user: String?, in domain: String) -> Bool {
        guard isAny(in: domain), let user else { return false }
        return keys[domain]?.contains(user) == true
    }
}
