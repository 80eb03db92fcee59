internal import Glibc

/// A database as its preparation needs to know it.
package struct DatabaseAddress: Sendable {
    /// The schema owner's connection string.
    package var owner: String
    /// The owner's connection to a database that exists from the start; nil where the database is somebody else's.
    package var maintenance: String?
    /// The database's name, to be made where it is missing.
    package var name: String
    /// The password that brokers log in with; nil leaves roles as they are.
    package var brokerPassword: String?

    package init(owner: String, maintenance: String? = nil, name: String = "", brokerPassword: String? = nil) {
        self.owner = owner
        self.maintenance = maintenance
        self.name = name
        self.brokerPassword = brokerPassword
    }
}

/// The private PostgreSQL cluster of `scriptorium up`: loopback TCP with a password, no Unix socket (paths over 107 bytes fail).
///
/// PostgreSQL refuses to run as root: there it runs as the user `postgres`, through `setpriv`.
package struct PostgreSQLCluster: Sendable {
    private let folder: String
    private let logs: String
    private let binaries: String
    private let secrets: String
    private let account: Account?

    /// The user that PostgreSQL runs as where this process is root.
    private struct Account: Sendable {
        let user: uid_t
        let group: gid_t
    }

    /// The superuser's name inside the cluster, and the database's.
    package static let owner = "scriptorium"

    /// Finds PostgreSQL's programs.
    /// - Throws: ``ProcessError/setup(_:)`` saying what to install.
    package init(_ directory: DataDirectory) throws(ProcessError) {
        folder = directory.cluster
        logs = directory.logs
        secrets = directory.path
        guard let found = Self.findBinaries() else {
            throw .setup(
                "PostgreSQL's server programs were not found; install them (Debian: apt install postgresql) or name a server with --database-url")
        }
        binaries = found
        if geteuid() == 0 {
            guard let entry = getpwnam("postgres") else {
                throw .setup("PostgreSQL does not run as root, and there is no user `postgres` to run it; run as another user or add one")
            }
            account = Account(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
        } else {
            account = nil
        }
    }

    /// Whether the cluster runs under another user than this process.
    package var runsAsOtherUser: Bool { account != nil }

    /// Where the database will be once the server runs on a port, and the passwords to it.
    package func address(port: Int) throws(ProcessError) -> DatabaseAddress {
        let password = try ownerPassword()
        return DatabaseAddress(
            owner: url(port: port, user: Self.owner, password: password, database: Self.owner),
            maintenance: url(port: port, user: Self.owner, password: password, database: "postgres"), name: Self.owner,
            brokerPassword: try brokerPassword())
    }

    /// The connection string of brokers.
    package func brokerURL(port: Int) throws(ProcessError) -> String {
        url(port: port, user: "scriptorium_broker", password: try brokerPassword(), database: Self.owner)
    }

    private func url(port: Int, user: String, password: String, database: String) -> String {
        "postgresql://\(user):\(password)@127.0.0.1:\(port)/\(database)"
    }

    private func ownerPassword() throws(ProcessError) -> String { try password("database-password") }

    private func brokerPassword() throws(ProcessError) -> String { try password("broker-password") }

    /// A password that is made once and kept in a file that only this process's user can read.
    private func password(_ name: String) throws(ProcessError) -> String {
        let path = secrets + "/" + name
        if let known = DataDirectory.read(path), !known.isEmpty { return known }
        var generator = SystemRandomNumberGenerator()
        let password = (0..<2).map { _ in String(generator.next() | 1 << 63, radix: 36) }.joined()
        try DataDirectory.write(password, to: path, mode: 0o600)
        return password
    }

    /// Makes the cluster's files where they are missing.
    package func initialise() throws(ProcessError) {
        if access(folder + "/PG_VERSION", F_OK) == 0, access(folder + "/initialised", F_OK) == 0 { return }
        try removeUnfinished()
        try DataDirectory.makeFolder(folder, mode: 0o700)
        let passwordFile = secrets + "/initdb-password"
        try DataDirectory.write(try ownerPassword() + "\n", to: passwordFile, mode: 0o600)
        defer { unlink(passwordFile) }
        if let account {
            guard chown(folder, account.user, account.group) == 0, chown(passwordFile, account.user, account.group) == 0 else {
                throw .system("giving \(folder) to the user postgres", errno)
            }
        }
        let log = logs + "/initdb.log"
        unlink(log)
        // --no-sync: what is lost with the machine in these seconds is an empty cluster, which the next start makes anew.
        let status = try run(
            "initdb",
            [
                "-D", folder, "-U", Self.owner, "--pwfile", passwordFile, "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8",
                "--no-sync",
            ], log: log)
        guard status == .exited(0) else {
            throw .setup("initdb \(status); its last words: \(Self.lastLine(of: log)). \(closedPathHint())")
        }
        try DataDirectory.write("1\n", to: folder + "/initialised", mode: 0o600)
        if let account { chown(folder + "/initialised", account.user, account.group) }
    }

    /// An interrupted initdb leaves a folder that it refuses to fill: nothing of worth can be in it yet.
    private func removeUnfinished() throws(ProcessError) {
        guard access(folder, F_OK) == 0 else { return }
        let status = try run("rm", ["-rf", folder], log: logs + "/initdb.log", program: "/bin/rm")
        guard status == .exited(0) else { throw .setup("the unfinished cluster in \(folder) could not be removed; remove it by hand") }
    }

    /// Stops a server that an earlier `up` left running on this cluster (after a kill -9), and waits for its end.
    package func stopLeftOver() throws(ProcessError) {
        guard let lines = DataDirectory.read(folder + "/postmaster.pid")?.split(separator: "\n", omittingEmptySubsequences: false),
            lines.count > 1, let pid = Int32(lines[0]), pid > 1, String(lines[1]) == folder,
            DataDirectory.read("/proc/\(pid)/comm")?.hasPrefix("postgres") == true, ProcessTable.isRunning(pid)
        else { return }
        kill(pid, SIGINT)
        let deadline = monotonicSeconds() + 30
        while ProcessTable.isRunning(pid), monotonicSeconds() < deadline { usleep(20_000) }
        guard !ProcessTable.isRunning(pid) else {
            throw .setup("PostgreSQL (process \(pid)) left by an earlier start does not stop; stop it by hand")
        }
    }

    /// Starts the server on a port of loopback.
    /// - Returns: the running child; it may not accept connections yet.
    package func start(port: Int) throws(ProcessError) -> ChildProcess {
        let (executable, arguments) = asOwner(
            binaries + "/postgres",
            [
                "-D", folder, "-p", String(port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=100",
                "-c", "log_timezone=UTC", "-c", "timezone=UTC",
            ])
        return try ChildProcess.spawn(
            .init(executable: executable, arguments: arguments, environment: Self.environment, logPath: logs + "/postgres.log"))
    }

    /// The last line that the server logged, for error messages.
    package var lastLogLine: String { Self.lastLine(of: logs + "/postgres.log") }

    /// Whether the server that runs on this cluster as a process says that it takes connections.
    package func isReady(_ pid: Int32) -> Bool { DataDirectory.read(folder + "/postmaster.pid").map { Self.isReady(pid, says: $0) } ?? false }

    /// Reads a postmaster.pid. One that a crash of the machine left stands there, as ready as its server was, until the next has written its own.
    /// Source: PostgreSQL 15, pidfile.h: the process on line 1, its status on line 8.
    package static func isReady(_ pid: Int32, says file: String) -> Bool {
        let lines = file.split(separator: "\n", omittingEmptySubsequences: false)
        return lines.count > 7 && lines[0] == String(pid) && lines[7].hasPrefix("ready")
    }

    /// Whether a server that ended at its start did so because somebody else listens on its port.
    package var foundItsPortTaken: Bool {
        // Source: PostgreSQL 15, postmaster.c; not translated, as the cluster's locale is C.
        DataDirectory.read(logs + "/postgres.log")?.suffix(1_000).contains("could not create any TCP/IP sockets") ?? false
    }

    /// A port of loopback that nobody listens on now.
    package static func freePort() throws(ProcessError) -> Int {
        let handle = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard handle >= 0 else { throw .system("finding a free port", errno) }
        defer { close(handle) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let result = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(handle, $0, length) == 0 && getsockname(handle, $0, &length) == 0 }
        }
        guard result else { throw .system("finding a free port", errno) }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private func run(_ name: String, _ arguments: [String], log: String, program: String? = nil) throws(ProcessError) -> ExitStatus {
        let (executable, all) = program.map { ($0, arguments) } ?? asOwner(binaries + "/" + name, arguments)
        let child = try ChildProcess.spawn(.init(executable: executable, arguments: all, environment: Self.environment, logPath: log))
        guard let status = child.wait(seconds: 120) else {
            child.stop(signal: SIGTERM, withinSeconds: 5)
            throw .setup("\(name) did not end within 120 s; see \(log)")
        }
        return status
    }

    /// Wraps a command so that it runs as the cluster's user. Where the path to the cluster is closed to that user (a folder of mode 0700
    /// above it), the ambient capability `dac_read_search` opens it for searching, and for nothing else that matters.
    private func asOwner(_ executable: String, _ arguments: [String]) -> (String, [String]) {
        guard let account else { return (executable, arguments) }
        var wrapped = ["--reuid=\(account.user)", "--regid=\(account.group)", "--init-groups"]
        if closedFolder() != nil { wrapped += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"] }
        return ("/usr/bin/setpriv", wrapped + ["--", executable] + arguments)
    }

    /// The first folder above the cluster that others may not search.
    private func closedFolder() -> String? {
        var path = folder
        while let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            path = String(path[..<slash])
            var info = stat()
            if stat(path, &info) == 0, info.st_mode & 0o001 == 0, info.st_uid != account?.user { return path }
        }
        return nil
    }

    private func closedPathHint() -> String {
        guard account != nil, let closed = closedFolder() else { return "" }
        return "The folder \(closed) is closed to the user postgres: open it (chmod o+x) or name another with --data-dir"
    }

    private static var environment: [String] {
        var environment = ["LC_ALL=C.UTF-8", "TZ=UTC"]
        if let path = getenv("PATH") { environment.append("PATH=\(String(cString: path))") }
        return environment
    }

    /// The newest of Debian's folders of server programs, else the one in PATH.
    private static func findBinaries() -> String? {
        var versions: [Int] = []
        if let listing = opendir("/usr/lib/postgresql") {
            while let entry = readdir(listing) {
                let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
                    pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                }
                if let version = Int(name), access("/usr/lib/postgresql/\(version)/bin/initdb", X_OK) == 0 { versions.append(version) }
            }
            closedir(listing)
        }
        if let newest = versions.max() { return "/usr/lib/postgresql/\(newest)/bin" }
        let path = getenv("PATH").map { String(cString: $0) } ?? ""
        return path.split(separator: ":").map(String.init).first { access($0 + "/initdb", X_OK) == 0 && access($0 + "/postgres", X_OK) == 0 }
    }

    private static func lastLine(of path: String) -> String {
        DataDirectory.read(path)?.split(separator: "\n").last.map(String.init) ?? "(none; see \(path))"
    }
}
