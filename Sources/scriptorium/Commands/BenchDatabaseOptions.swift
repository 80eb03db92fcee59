import ArgumentParser
import FoundationEssentials
import Supervision

/// Where benchmarks of the queue run.
struct BenchDatabaseOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Use this database (it will hold the tasks) instead of a temporary one.", valueName: "url"))
    var databaseUrl: String?

    @Option(help: ArgumentHelp("The schema's SQL files, where they are not found by themselves.", valueName: "folder"))
    var migrations: String?

    /// Hands out a database whose schema is up to date: the one that was named, or one of a PostgreSQL with durable defaults in a temporary folder,
    /// which is gone afterwards.
    func use<Value>(_ body: (BenchmarkDatabase) throws -> Value) throws -> Value {
        if let databaseUrl { return try body(BenchmarkDatabase(url: databaseUrl, isOwn: false)) }
        let folder = FileManager.default.temporaryDirectory.path() + "/scriptorium-bench-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let cluster = try PostgreSQLCluster(DataDirectory(folder))
        try cluster.initialise()
        let port = try PostgreSQLCluster.freePort()
        let server = try cluster.start(port: port)
        defer { server.stop(signal: 2, withinSeconds: 30) }
        let address = try cluster.address(port: port)
        try DatabasePreparation.run(address, migrations: migrations)
        return try body(BenchmarkDatabase(url: address.owner, isOwn: true))
    }
}
