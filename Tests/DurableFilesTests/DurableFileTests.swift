import DurableFiles
import Glibc
import Synchronization
import TestSupport
import Testing

@Suite("durable files")
struct DurableFileTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private var path: String { temporary.path + "/file" }

    private func content(_ path: String) -> [UInt8]? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes.prefix(count))
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o7777 : 0
    }

    @Test("a file appears under its name only when it is finished")
    func appears() throws {
        var file = try DurableFile(path: path)
        try file.write([1, 2, 3])
        let names = FileTree.names(temporary.path)
        #expect(names.count == 1 && names[0].hasPrefix(".") && names[0].hasSuffix(".partial"))
        try file.overwrite([9], at: 1)
        try file.write([4])
        try file.finish()
        #expect(FileTree.names(temporary.path) == ["file"])
        #expect(content(path) == [1, 9, 3, 4])
    }

    @Test("a file that is not finished is removed, and the old one stands")
    func dropped() throws {
        try DurableFile.write([7], to: path)
        func begin() throws {
            var file = try DurableFile(path: path)
            try file.write([1, 2, 3])
        }
        try begin()
        #expect(FileTree.names(temporary.path) == ["file"])
        #expect(content(path) == [7])
    }

    @Test("bytes are synced before the rename, and the folder after it")
    func order() throws {
        let log = Log()
        try DurableFile.write([1, 2], to: path, calls: log.calls())
        #expect(log.lines == ["write 2", "sync file", "rename to file", "sync folder"])
    }

    @Test("a short write goes on where it stopped, and an interrupted one is tried again")
    func shortWrites() throws {
        let turn = Atomic(0)
        var calls = FileCalls.system
        calls.write = { file, bytes, count in
            if turn.wrappingAdd(1, ordering: .relaxed).oldValue % 2 == 0 {
                errno = EINTR
                return -1
            }
            return Glibc.write(file, bytes, min(count, 3))
        }
        try DurableFile.write(Array(0..<10), to: path, calls: calls)
        #expect(content(path) == Array(0..<10))
    }

    @Test(
        "whatever call fails, the old file stands whole, nothing lies beside it, and the error says why",
        arguments: ["write 3", "sync file", "rename to file"])
    func failures(failing: String) throws {
        try DurableFile.write([7], to: path)
        let log = Log(failing: failing)
        #expect(throws: FileError(path: path, errno: ENOSPC)) { try DurableFile.write([1, 2, 3], to: path, calls: log.calls()) }
        #expect(log.lines.last == failing)
        #expect(FileTree.names(temporary.path) == ["file"])
        #expect(content(path) == [7])
    }

    @Test("a folder whose sync fails is told, a file system without such a sync is not")
    func folderSync() throws {
        let full = Log(failing: "sync folder")
        #expect(throws: FileError(path: temporary.path, errno: ENOSPC)) { try DurableFile.write([1], to: path, calls: full.calls()) }
        let unable = Log(failing: "sync folder", with: EINVAL)
        try DurableFile.write([2], to: path, calls: unable.calls())
        #expect(content(path) == [2])
    }

    @Test("permissions are those asked for from the first byte on")
    func permissions() throws {
        let file = try DurableFile(path: path, mode: 0o600)
        let names = FileTree.names(temporary.path)
        #expect(mode(temporary.path + "/" + names[0]) == 0o600)
        try file.finish()
        #expect(mode(path) == 0o600)
    }

    @Test("a file can be named at the end, also with the longest of names, and many at once do not meet")
    func namedLater() throws {
        let long = temporary.path + "/" + String(repeating: "n", count: 255)
        try DurableFile.write([3], to: long)
        for number in 0..<UInt8(20) {
            var file = try DurableFile(in: temporary.path, mode: 0o444)
            var other = try DurableFile(in: temporary.path, mode: 0o444)
            try file.write([number])
            try other.write([255])
            try file.finish(as: "\(temporary.path)/\(number)")
        }
        #expect(FileTree.names(temporary.path).count == 21)
        #expect(content(temporary.path + "/13") == [13] && content(long) == [3])
    }

    @Test("a folder that is missing, or a folder in the file's place, is an error that names the path")
    func wrongPlaces() throws {
        let nowhere = temporary.path + "/none/file"
        #expect(throws: FileError(path: nowhere, errno: ENOENT)) { try DurableFile.write([1], to: nowhere) }
        mkdir(path, 0o755)
        #expect(throws: FileError(path: path, errno: EISDIR)) { try DurableFile.write([1], to: path) }
        #expect(FileTree.names(temporary.path) == ["file"])
        #expect("\(FileError(path: nowhere, errno: ENOENT))" == "\(nowhere): No such file or directory")
    }
}

/// Notes the calls in their order; one of them can fail.
private final class Log: Sendable {
    private let noted = Mutex<[String]>([])
    private let failing: String?
    private let problem: Int32

    init(failing: String? = nil, with problem: Int32 = ENOSPC) {
        self.failing = failing
        self.problem = problem
    }

    var lines: [String] { noted.withLock { $0 } }

    func calls() -> FileCalls {
        FileCalls(
            write: { file, bytes, count in self.note("write \(count)") ? Glibc.write(file, bytes, count) : -1 },
            sync: { file in
                var status = stat()
                fstat(file, &status)
                return self.note(status.st_mode & S_IFMT == S_IFDIR ? "sync folder" : "sync file") ? fsync(file) : -1
            },
            rename: { from, to in
                self.note("rename to \(to.split(separator: "/").last ?? "")") ? Glibc.rename(from, to) : -1
            })
    }

    /// - Returns: whether the call may go on.
    private func note(_ line: String) -> Bool {
        noted.withLock { $0.append(line) }
        guard line == failing else { return true }
        errno = problem
        return false
    }
}
