import ArgumentParser
import Encodings
import Messaging
import Worker

/// Who vouches for generated texts.
struct SigningOptions: ParsableArguments {
    @Option(help: ArgumentHelp("Sign each text's proof with this secret key (`scriptorium keygen --signing`).", valueName: "file"))
    var signingKey: String?

    /// - Throws: ``CommandFailure/usage(_:)`` where the file cannot be used.
    func key() throws -> SigningKey? {
        do throws(KeyFileError) {
            return try signingKey.map { path throws(KeyFileError) in try SigningKeyFile.read(path) }
        } catch { throw CommandFailure.usage("--signing-key: \(error)") }
    }

    /// The same option for a child process.
    var arguments: [String] { signingKey.map { ["--signing-key", $0] } ?? [] }
}
