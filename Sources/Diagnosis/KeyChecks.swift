internal import Glibc
internal import Messaging

/// A secret key's file: there, whole, and nobody else's to read.
package struct SecretKeyCheck: Check {
    let path: String

    package init(path: String) { self.path = path }

    package func findings() -> [Finding] {
        do throws(KeyFileError) {
            return [.ok("secret key", "\(path): \(try CurveKeyFile.read(path).publicKey.fingerprint)")]
        } catch {
            return [.fail("secret key", "\(error)", mend: "keep it readable by its user alone; `scriptorium keygen` makes a new one")]
        }
    }
}

/// One allow-list: readable, well-formed, changed by nobody but its owner, and not empty.
package struct KeyListCheck: Check {
    /// The flag that names it, as `--curve-workers`.
    let flag: String
    let path: String

    package init(flag: String, path: String) {
        self.flag = flag
        self.path = path
    }

    package func findings() -> [Finding] {
        let list: KeyList
        do throws(KeyFileError) { list = try CurveKeyFile.readList(path) } catch {
            return [.fail("list of keys", "\(flag): \(error)", mend: "one public key a line, then a name; # begins a comment")]
        }
        let found = "\(flag) \(path): \(list.names.count) keys"
        var status = stat()
        if stat(path, &status) == 0, status.st_mode & 0o022 != 0 {
            return [.warn("list of keys", found + ", and others may write it", mend: "chmod go-w \(path): who writes it lets in whom they like")]
        }
        if list.names.isEmpty {
            return [.warn("list of keys", found, mend: "nobody is let in: add lines of `scriptorium keygen`'s .pub files")]
        }
        return [.ok("list of keys", found)]
    }
}

/// Lists side by side: a key that is a client's and a worker's at once loses what the separation is for.
package struct SeparateRolesCheck: Check {
    let clients: Set<CurvePublicKey>
    let workers: Set<CurvePublicKey>

    package init(clients: [String], workers: [String]) {
        // What cannot be read is ``KeyListCheck``'s to say.
        func keys(_ paths: [String]) -> Set<CurvePublicKey> { paths.reduce([]) { $0.union((try? CurveKeyFile.readList($1).keys) ?? []) } }
        self.clients = keys(clients)
        self.workers = keys(workers)
    }

    package func findings() -> [Finding] {
        guard !clients.isEmpty, !workers.isEmpty else { return [] }
        let both = clients.intersection(workers)
        guard let one = both.map(\.fingerprint).min() else { return [.ok("roles", "no key is a client's and a worker's")] }
        return [
            .warn(
                "roles", "\(both.count) keys are clients' and workers', such as \(one)",
                mend: "make a pair for each: a stolen one then opens one door")
        ]
    }
}

/// Endpoints that other machines can reach are to have keys.
package struct ReachCheck: Check {
    let endpoints: [String]
    let hasKeys: Bool
    let isInsecureAllowed: Bool

    package init(endpoints: [String], hasKeys: Bool, isInsecureAllowed: Bool) {
        self.endpoints = endpoints
        self.hasKeys = hasKeys
        self.isInsecureAllowed = isInsecureAllowed
    }

    package func findings() -> [Finding] {
        let open = endpoints.filter { !Listening.isLoopback($0) }
        guard let first = open.first else { return [.ok("reach", "all endpoints are on loopback")] }
        let found = "\(first) can be reached from other machines"
        if hasKeys { return [.ok("reach", found + ", with keys")] }
        if isInsecureAllowed {
            return [
                .warn(
                    "reach", found + " without keys (--insecure)",
                    mend: "whoever reaches it may read, cancel and overwrite everything: use --curve-key")
            ]
        }
        return [.fail("reach", found, mend: "a broker refuses to listen there without --curve-key (or --insecure)")]
    }
}
