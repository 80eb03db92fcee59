import ArgumentParser
import Encodings
import Messaging

/// `scriptorium keygen`: CURVE key pairs.
struct KeygenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keygen", abstract: "Make CURVE key pairs: the secret key in FILE (for its owner only), the public key in FILE.pub.",
        discussion: """
            Prints the line of FILE.pub, which is a line of an allow-list: `scriptorium keygen worker.key >> workers.keys` lets that worker in. \
            Files that exist are never overwritten. How keys are used and changed: docs/security.md.
            """)

    @Argument(help: ArgumentHelp("Where the secret keys go.", valueName: "file"))
    var files: [String]

    @Option(help: "A name to stand behind the public key; default: the file's name without .key.")
    var name: String?

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
            let pair = try CurveKeyPair.generate()
            let name = name ?? Self.name(of: file)
            do {
                try CurveKeyFile.write(pair, to: file, name: name)
            } catch {
                if case .unwritable = error { throw CommandFailure.failed("\(error)") }
                throw CommandFailure.usage("\(error)")
            }
            print(json ? Self.line(pair, file, name) : "\(pair.publicKey.text) \(name)")
        }
    }

    private static func line(_ pair: CurveKeyPair, _ file: String, _ name: String) -> String {
        let object: JSONObject = [
            "public_key": .string(pair.publicKey.text), "name": .string(name), "file": .string(file), "public_file": .string(file + ".pub"),
        ]
        return String(decoding: JSONValue.object(object).serialised, as: UTF8.self)
    }

    private static func name(of file: String) -> String {
        let last = file.split(separator: "/").last.map(String.init) ?? file
        let base = last.hasSuffix(".key") ? String(last.dropLast(4)) : last
        return base.replacing("#", with: "-")
    }
}
