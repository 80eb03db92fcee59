import ArgumentParser
import Encodings
import Messaging
import Worker

/// `scriptorium keygen`: CURVE key pairs.
struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen",
        abstract: "Make key pairs, CURVE's or for signatures: the secret key in FILE (for its owner only), the public one in FILE.pub.",
        discussion: """
            Prints the line of FILE.pub, which is a line of an allow-list: `scriptorium keygen worker.key >> workers.keys` lets that worker in. \
            Files that exist are never overwritten. How keys are used and changed: docs/security.md.
            With --signing the pairs are Ed25519 keys in PEM that sign the proofs of texts (docs/verification.md); the public key is printed in \
            hexadecimal digits.
            """)

    @Argument(help: ArgumentHelp("Where the secret keys go.", valueName: "file"))
    var files: [String]

    @Option(help: "A name to stand behind the public key; default: the file's name without .key.")
    var name: String?

    @Flag(help: "Make keys that sign proofs of texts, for worker --signing-key.")
    var signing = false

    @Flag(help: "Print one JSON object a pair.")
    var json = false

    func validate() throws {
        guard let name else { return }
        guard !name.isEmpty, name.utf8.count <= 100, !name.contains(where: { $0.isNewline || $0 == "#" }) else {
            throw ValidationError("--name: up to 100 bytes on one line, without #")
        }
    }

    func run() throws {
        for file in files {
            let name = name ?? Self.name(of: file)
            let publicKey: String
            do throws(KeyFileError) {
                publicKey = try signing ? Self.makeSigningKey(file) : Self.makeCurveKey(file, name)
            } catch {
                if case .unwritable = error { throw CommandFailure.failed("\(error)") }
                throw CommandFailure.usage("\(error)")
            }
            print(json ? Self.line(publicKey, file, name) : "\(publicKey) \(name)")
        }
    }

    private static func makeCurveKey(_ file: String, _ name: String) throws(KeyFileError) -> String {
        let pair: CurveKeyPair
        do throws(MessagingError) { pair = try .generate() } catch { throw .unwritable(path: file, reason: "no key can be made: \(error)") }
        try CurveKeyFile.write(pair, to: file, name: name)
        return pair.publicKey.text
    }

    private static func makeSigningKey(_ file: String) throws(KeyFileError) -> String {
        let key = SigningKey.generate()
        try SigningKeyFile.write(key, to: file)
        return "\(key.publicKey)"
    }

    private static func line(_ publicKey: String, _ file: String, _ name: String) -> String {
        let object: JSONObject = [
            "public_key": .string(publicKey), "name": .string(name), "file": .string(file), "public_file": .string(file + ".pub"),
        ]
        return String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
    }

    private static func name(of file: String) -> String {
        let last = file.split(separator: "/").last.map(String.init) ?? file
        let base = last.hasSuffix(".key") ? String(last.dropLast(4)) : last
        return base.replacing("#", with: "-")
    }
}
