import Glibc
import Supervision
import TestSupport
import Testing

@Suite("Child processes", .serialized)
struct ChildProcessTests {
    private func shell(_ script: String, pipes: Bool = false, log: String? = nil) throws -> ChildProcess {
        try ChildProcess.spawn(
            .init(executable: "/bin/sh", arguments: ["-c", script], environment: ["PATH=/usr/bin:/bin"], logPath: log, hasPipes: pipes))
    }

    @Test("the exit status of a child is reported")
    func exitStatus() throws {
        #expect(try shell("exit 7").wait(seconds: 10) == .exited(7))
    }

    @Test("when a child ended is known, however late anybody looks")
    func endTime() throws {
        let child = try shell("read -r line <&3", pipes: true)
        #expect(child.endedAt == nil)
        child.signal(SIGKILL)
        _ = child.wait(seconds: 10)
        let noticed = monotonicSeconds()
        let ended = try #require(child.endedAt)
        #expect(ended <= noticed && child.endedAt == ended)
    }

    @Test("a child that a signal ended says which")
    func signalled() throws {
        let child = try shell("exec sleep 60")
        #expect(child.status == nil)
        #expect(child.stop(signal: SIGTERM, withinSeconds: 10) == .killed(signal: SIGTERM))
    }

    @Test("a child that ignores SIGTERM is killed")
    func stubborn() throws {
        let child = try shell("trap '' TERM; echo ready >&4; while :; do sleep 1; done", pipes: true)
        #expect(child.reportedLine(withinSeconds: 10) == "ready")
        #expect(child.stop(signal: SIGTERM, withinSeconds: 0.3) == .killed(signal: SIGKILL))
    }

    @Test("a child that ends without a report is noticed at once")
    func noReport() throws {
        let before = monotonicSeconds()
        #expect(try shell("exit 1", pipes: true).reportedLine(withinSeconds: 30) == nil)
        #expect(monotonicSeconds() - before < 10)
    }

    @Test("the lifeline ends when the supervisor lets go")
    func lifeline() throws {
        let folder = try TemporaryDirectory()
        var child: ChildProcess? = try shell("echo up >&4; read -r line <&3; echo over >\(folder.path)/said", pipes: true)
        #expect(child?.reportedLine(withinSeconds: 10) == "up")
        let pid = try #require(child?.pid)
        child = nil
        let deadline = monotonicSeconds() + 10
        while DataDirectory.read(folder.path + "/said") == nil, monotonicSeconds() < deadline { usleep(5000) }
        #expect(DataDirectory.read(folder.path + "/said") == "over\n")
        _ = pid
    }

    @Test("the pipes reach the child whatever descriptors are open here already")
    func crowded() throws {
        var opened: [Int32] = []
        defer { for file in opened { close(file) } }
        for _ in 0..<120 {
            opened.append(open("/dev/null", O_RDONLY | O_CLOEXEC))
            let child = try shell("echo up >&4; read -r line <&3", pipes: true)
            let line = child.reportedLine(withinSeconds: 10)
            #expect(line == "up", "with \(opened.last ?? -1) open")
            child.signal(SIGKILL)
        }
    }

    @Test("what a child writes is appended to its log")
    func logs() throws {
        let folder = try TemporaryDirectory()
        for word in ["one", "two"] { _ = try shell("echo \(word)", log: folder.path + "/log").wait(seconds: 10) }
        #expect(DataDirectory.read(folder.path + "/log") == "one\ntwo\n")
    }

    @Test("a process that has ended counts as ended, though nobody has taken notice of it")
    func unreaped() throws {
        var pid = pid_t()
        var arguments: [UnsafeMutablePointer<CChar>?] = [strdup("/bin/cat"), nil]
        defer { free(arguments[0]) }
        // It runs as long as somebody can write to its input.
        var ends: [Int32] = [0, 0]
        try #require(pipe(&ends) == 0)
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_adddup2(&actions, ends[0], 0)
        posix_spawn_file_actions_addclose(&actions, ends[1])
        try #require(posix_spawn(&pid, "/bin/cat", &actions, nil, &arguments, nil) == 0)
        posix_spawn_file_actions_destroy(&actions)
        #expect(ProcessTable.isRunning(pid))
        close(ends[0])
        close(ends[1])
        let deadline = monotonicSeconds() + 10
        while ProcessTable.isRunning(pid), monotonicSeconds() < deadline { usleep(5000) }
        #expect(!ProcessTable.isRunning(pid))
        #expect(kill(pid, 0) == 0)
        waitpid(pid, nil, 0)
        #expect(!ProcessTable.isRunning(pid))
    }

    @Test("a missing program is an error that names it")
    func missing() {
        #expect {
            try ChildProcess.spawn(.init(executable: "/no/such/program", arguments: [], environment: []))
        } throws: { "\($0)".contains("/no/such/program") }
    }
}

@Suite("The data folder")
struct DataDirectoryTests {
    @Test("a second holder of a data folder is refused, and may come once the first is gone")
    func lock() throws {
        let folder = try TemporaryDirectory()
        var first: DataDirectory? = try DataDirectory(folder.path + "/data")
        #expect(first?.path.hasSuffix("/data") == true)
        #expect { try DataDirectory(folder.path + "/data") } throws: { "\($0)".contains("another `scriptorium up`") }
        first = nil
        _ = try DataDirectory(folder.path + "/data")
    }

    @Test("an old service.json goes when the folder is taken")
    func oldServiceFile() throws {
        let folder = try TemporaryDirectory()
        try DataDirectory.write("old", to: folder.path + "/service.json", mode: 0o600)
        _ = try DataDirectory(folder.path)
        #expect(DataDirectory.read(folder.path + "/service.json") == nil)
    }

    @Test("written files replace the old one whole and keep their mode")
    func atomicWrite() throws {
        let folder = try TemporaryDirectory()
        let path = folder.path + "/file"
        try DataDirectory.write("a longer first text", to: path, mode: 0o600)
        try DataDirectory.write("second", to: path, mode: 0o600)
        #expect(DataDirectory.read(path) == "second")
        var info = stat()
        #expect(stat(path, &info) == 0 && info.st_mode & 0o777 == 0o600)
    }

    @Test("free ports are free")
    func ports() throws {
        let port = try PostgreSQLCluster.freePort()
        #expect((1024...65535).contains(port))
    }

    @Test("a server whose port somebody else has taken ends, and that is known from other ends", .timeLimit(.minutes(2))) func takenPort() throws {
        let folder = try TemporaryDirectory()
        // Where PostgreSQL runs as another user, it has to get there.
        #expect(chmod(folder.path, 0o755) == 0)
        let cluster = try PostgreSQLCluster(try DataDirectory(folder.path + "/data"))
        try cluster.initialise()
        #expect(!cluster.foundItsPortTaken)
        let taken = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(taken) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(taken, $0, length) == 0 && listen(taken, 1) == 0 && getsockname(taken, $0, &length) == 0
            }
        }
        try #require(isListening)
        let server = try cluster.start(port: Int(UInt16(bigEndian: address.sin_port)))
        let status = try #require(server.wait(seconds: 60))
        #expect(status != .exited(0) && cluster.foundItsPortTaken, "\(cluster.lastLogLine)")
    }
}

@Suite("Conditions")
struct ConditionTests {
    @Test("a value set by another thread wakes the waiter")
    func wake() {
        let condition = Condition<Int>()
        startThread { condition.set(42) }
        #expect(condition.wait(seconds: 10) == 42)
    }

    @Test("only the first value counts")
    func first() {
        let condition = Condition<Int>()
        condition.set(1)
        condition.set(2)
        #expect(condition.value == 1)
    }

    @Test("a wait without a value ends with its time")
    func timeout() { #expect(Condition<Int>().wait(seconds: 0.01) == nil) }
}
