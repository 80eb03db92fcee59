import FoundationEssentials
import Glibc
import Messaging
import TestSupport
import Testing

@Suite struct CurveKeyFileTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func write(_ text: String, _ name: String, mode: mode_t = 0o600) throws -> String {
        let path = folder.path + "/" + name
        try Data(text.utf8).write(to: URL(filePath: path))
        #expect(chmod(path, mode) == 0)
        return path
    }

    private func mode(_ path: String) -> mode_t {
        var status = stat()
        return stat(path, &status) == 0 ? status.st_mode & 0o777 : 0
    }

    @Test("a pair is written for its owner alone, is read again, and its public file is a line of a list")
    func roundTrip() throws {
        let path = folder.path + "/broker.key"
        let pair = try CurveKeyPair.generate()
        try CurveKeyFile.write(pair, to: path, name: "broker a")
        #expect(mode(path) == 0o600 && mode(path + ".pub") & 0o133 == 0)
        #expect(try CurveKeyFile.read(path) == pair)
        #expect(try CurveKeyFile.readList(path + ".pub").names == [pair.publicKey: "broker a"])
        #expect(try CurveKeyFile.publicKey(path + ".pub") == pair.publicKey)
        #expect(try CurveKeyFile.publicKey(pair.publicKey.text) == pair.publicKey)
        let secret = try String(contentsOf: URL(filePath: path), encoding: .utf8).split(separator: "\n").last.map(String.init) ?? ""
        #expect(CurveKeyPair(secret: secret) == pair)
        #expect(try !String(contentsOf: URL(filePath: path + ".pub"), encoding: .utf8).contains(secret))
    }

    @Test("no key is ever overwritten, and a half-made pair leaves nothing")
    func exclusive() throws {
        let path = try write("precious", "a")
        let pair = try CurveKeyPair.generate()
        #expect(throws: KeyFileError.exists(path: path)) { try CurveKeyFile.write(pair, to: path) }
        #expect(access(path + ".pub", F_OK) != 0)
        #expect(try String(contentsOf: URL(filePath: path), encoding: .utf8) == "precious")
        let other = folder.path + "/b"
        _ = try write("public", "b.pub")
        #expect(throws: KeyFileError.exists(path: other + ".pub")) { try CurveKeyFile.write(pair, to: other) }
        #expect(access(other, F_OK) != 0)
        #expect(throws: KeyFileError.self) { try CurveKeyFile.write(pair, to: folder.path + "/no/such/folder") }
    }

    @Test("a secret key that others can read is refused, with what to do", arguments: [0o644, 0o640, 0o604, 0o660, 0o610] as [mode_t])
    func exposed(mode: mode_t) throws {
        let path = folder.path + "/k"
        try CurveKeyFile.write(try CurveKeyPair.generate(), to: path)
        #expect(chmod(path, mode) == 0)
        #expect(throws: KeyFileError.exposed(path: path, mode: String(mode, radix: 8))) { try CurveKeyFile.read(path) }
        do { _ = try CurveKeyFile.read(path) } catch { #expect(error.description.contains("chmod 600 \(path)")) }
    }

    @Test("root's file may be readable by this user's group, somebody else's file is never taken")
    func owners() {
        func problem(_ mode: UInt32, _ owner: UInt32) -> KeyFileError? {
            CurveKeyFile.secrecyProblem(path: "k", mode: mode, owner: owner, user: 1000)
        }
        #expect(problem(0o600, 1000) == nil && problem(0o400, 1000) == nil)
        #expect(problem(0o440, 0) == nil && problem(0o640, 0) == nil)
        #expect(problem(0o440, 1000) == .exposed(path: "k", mode: "440"))
        #expect(problem(0o444, 0) == .exposed(path: "k", mode: "444") && problem(0o660, 0) == .exposed(path: "k", mode: "660"))
        #expect(problem(0o600, 1001) == .foreign(path: "k", owner: 1001))
    }

    @Test("what is no key file is refused with its line, and never quoted")
    func malformed() throws {
        let short = try write("# mine\n\nsecret-stuff\n", "short")
        do { _ = try CurveKeyFile.read(short) } catch {
            #expect(error.description.contains("line 3") && !error.description.contains("secret-stuff"))
        }
        let list = try write("# only\nkey-stuff\n", "list")
        do { _ = try CurveKeyFile.readList(list) } catch {
            #expect(error.description.contains("\(list), line 2") && !error.description.contains("key-stuff"))
        }
        #expect(throws: KeyFileError.self) { try CurveKeyFile.read(short) }
        #expect(throws: KeyFileError.wrongCount(path: try write("#\n", "none"), found: 0)) { try CurveKeyFile.read(folder.path + "/none") }
        #expect(throws: KeyFileError.self) { try CurveKeyFile.publicKey(folder.path + "/absent") }
        let empty = try write("# nobody\n", "empty")
        #expect(throws: KeyFileError.wrongCount(path: empty, found: 0)) { try CurveKeyFile.publicKey(empty) }
    }

    @Test("a folder, a pipe and a huge file are no key files, and hold nobody up")
    func strange() throws {
        let pipe = folder.path + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        #expect(throws: KeyFileError.self) { try CurveKeyFile.read(pipe) }
        #expect(throws: KeyFileError.self) { try CurveKeyFile.readList(folder.path) }
        let huge = try write("", "huge")
        #expect(truncate(huge, 8 << 20) == 0)
        do { _ = try CurveKeyFile.readList(huge) } catch { #expect(error.description.contains("more than")) }
        #expect(throws: KeyFileError.self) { try CurveKeyFile.readList(huge) }
    }
}
