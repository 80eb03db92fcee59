internal import Foundation
import Synchronization
import TaskStore
import TestSupport

/// A PostgreSQL of the tests' own: a fresh cluster in a temporary folder, on a free loopback port, gone with this process however it ends.
///
/// A small shell stands between: it starts the server, waits for its standard input to close (which the death of this process does), stops
/// the server by its pid and removes the folder. Under root the server runs as user `postgres`.
package final class TemporaryCluster: Sendable {
    /// One cluster for all suites; each test takes a database of its own from ``database(migrated:)``.
    package static let shared: TemporaryCluster = {
        do { return try TemporaryCluster() } catch { fatalError("no PostgreSQL for the tests: \(error)") }
    }()

    package let port: Int
    package let directory: String
    private let shell: Process
    private let input: Pipe
    private let counter = Atomic(0)
    private let template = Mutex<String?>(nil)

    private struct Trouble: Error, CustomStringConvertible { let description: String }

    private init() throws {
        let binaries = try Self.binaries()
        port = try Self.freePort()
        directory = NSTemporaryDirectory() + "/scriptorium-pg-\(UUID().uuidString)"
        let asUser = getuid() == 0 ? "setpriv --reuid postgres --regid postgres --clear-groups --" : ""
        let owner = getuid() == 0 ? "chown postgres \"$1\"" : ":"
        shell = Process()
        input = Pipe()
        shell.executableURL = URL(filePath: "/bin/sh")
        shell.arguments = [
            "-c",
            """
            mkdir -m 0700 "$1" && \(owner) && cd "$1" || exit 1
            \(asUser) "$2/initdb" --no-sync -A trust -U postgres -E UTF8 --locale=C.UTF-8 -D "$1/data" >"$1/initdb.log" 2>&1 || exit 1
            \(asUser) "$2/postgres" -D "$1/data" -p "$3" -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off \
                -c full_page_writes=off -c shared_buffers=128MB -c max_connections=50 -c max_wal_size=2GB -c autovacuum=on >"$1/log" 2>&1 </dev/null &
            server=$!
            read -r _
            kill -QUIT $server
            wait $server
            cd / && rm -rf "$1"
            """, "sh", directory, binaries, String(port),
        ]
        shell.standardInput = input
        try shell.run()
        try waitUntilReady()
    }

    private static func binaries() throws -> String {
        let root = "/usr/lib/postgresql"
        let versions = (try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []
        guard let newest = versions.compactMap(Int.init).max() else { throw Trouble(description: "install Debian's package postgresql") }
        return "\(root)/\(newest)/bin"
    }

    private static func freePort() throws -> Int {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        guard bound else { throw Trouble(description: "no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    private func waitUntilReady() throws {
        for _ in 0..<1500 {
            if (try? StoreConnection(url("postgres"), setup: .migration)) != nil { return }
            guard shell.isRunning else { throw Trouble(description: "it ended at its start; see \(directory)") }
            usleep(20_000)
        }
        throw Trouble(description: "it did not answer within 30 s; see \(directory)/log")
    }

    /// The connection string of a database.
    package func url(_ database: String, user: String = "postgres") -> String {
        "host=127.0.0.1 port=\(port) dbname=\(database) user=\(user)"
    }

    /// Who logs in: each a member of the role of that name and of nothing else, the stranger of none; no one owns anything.
    package enum Login: String, CaseIterable, Sendable {
        case reader, publisher, broker, stranger

        /// Makes it.
        var sql: String { "CREATE ROLE tests_\(rawValue) LOGIN" + (self == .stranger ? "" : " IN ROLE scriptorium_\(rawValue)") }
    }

    /// A database as somebody else than its owner sees it. Of a connection string's words the last one counts.
    package static func url(_ url: String, as login: Login) -> String { url + " user=tests_\(login.rawValue)" }

    /// Makes a database and returns its owner's connection string.
    package func database(migrated: Bool = true) throws -> String {
        let name = "t\(counter.add(1, ordering: .relaxed).newValue)"
        let admin = try StoreConnection(url("postgres"), setup: .migration)
        guard migrated else {
            try admin.execute("CREATE DATABASE \(name)")
            return url(name)
        }
        try template.withLock { made in
            if made == nil {
                try admin.execute("CREATE DATABASE migrated")
                try Migrator(folder: Fixtures.root + "/migrations").run(StoreConnection(url("migrated"), setup: .migration))
                for login in Login.allCases { try admin.execute(login.sql) }
                made = "migrated"
            }
            try admin.execute("CREATE DATABASE \(name) TEMPLATE migrated")
        }
        return url(name)
    }
}
