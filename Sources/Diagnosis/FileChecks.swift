package import ArtifactStore
internal import Glibc
internal import LanguageModels
internal import ModelFiles
package import TaskProtocol
internal import TaskStore

/// The artifact store's folder: there, readable, writable, and with room.
package struct ArtifactStoreCheck: Check {
    let path: String

    package init(path: String) { self.path = path }

    package func findings() -> [Finding] {
        var status = stat()
        guard stat(path, &status) == 0 else {
            let reason = String(cString: strerror(errno))
            return [.fail("artifact store", "\(path): \(reason)", mend: "make the folder, or name another with --artifacts")]
        }
        guard status.st_mode & S_IFMT == S_IFDIR else {
            return [.fail("artifact store", "\(path) is no folder", mend: "name a folder with --artifacts")]
        }
        for (mode, verb) in [(R_OK, "read"), (W_OK, "write"), (X_OK, "search")] where faccessat(AT_FDCWD, path, mode, AT_EACCESS) != 0 {
            let mode = String(status.st_mode & 0o7777, radix: 8)
            let found = "the user \(geteuid()) may not \(verb) \(path) (owner \(status.st_uid), mode \(mode))"
            return [.fail("artifact store", found, mend: "chown it to the user who runs brokers and workers")]
        }
        return [room()]
    }

    private func room() -> Finding {
        var volume = statvfs()
        guard statvfs(path, &volume) == 0 else { return .ok("artifact store", "\(path) can be read and written") }
        let free = Int(volume.f_bavail) * Int(volume.f_frsize)
        let found = "\(path) can be read and written; \(ByteCount(free)) free"
        return free < 2 << 30 ? .warn("artifact store", found, mend: "checkpoints need room: free some") : .ok("artifact store", found)
    }
}

/// Whether the files of every model that has a name are in the store.
package struct FiledModelsCheck: Check {
    let models: [ModelRow]
    let store: ArtifactDirectory

    package init(models: [ModelRow], store: ArtifactDirectory) {
        self.models = models
        self.store = store
    }

    /// What is filed in a database; nil where it cannot be read, which others of its checks explain.
    package static func models(_ url: String) -> [ModelRow]? {
        guard let connection = try? StoreConnection(url), case .models(let rows) = StoreSession(connection).perform(.models) else { return nil }
        return rows
    }

    package func findings() -> [Finding] {
        let missing = models.filter { !store.hasAll(ofManifest: $0.uri.hasPrefix("sha256:") ? String($0.uri.dropFirst(7)) : $0.uri) }
        guard let first = missing.first else { return [.ok("filed models", "the files of all \(models.count) models are in the store")] }
        let found = "\(missing.count) of \(models.count) models lack files in \(store.path), such as \(first.name)"
        return [.fail("filed models", found, mend: "is this the store that the brokers use? Else import the model again")]
    }
}

/// A model's folder: everything in it can be read and understood.
package struct ModelDirectoryCheck: Check {
    let path: String

    package init(path: String) { self.path = path }

    package func findings() -> [Finding] {
        do {
            let directory = try ModelDirectory.open(path)
            let model = try Architectures.describe(config: directory.config, generation: directory.generationConfig)
            guard directory.tokenizerPath != nil else {
                return [.warn("model", "\(path) has no tokenizer", mend: "put its tokenizer.json (or vocab.json and merges.txt) beside config.json")]
            }
            let found = "\(path): \(model.architecture), \(model.parameterCount) parameters, context \(model.contextLength)"
            return [.ok("model", found)]
        } catch {
            return [.fail("model", "\(error)", mend: "name a folder with config.json, model.safetensors and a tokenizer")]
        }
    }
}
