import DurableFiles

/// A folder that a checkpoint is written to, and which every later one of the run replaces as a whole: what is no file of a
/// checkpoint must not be lost by that.
package enum CheckpointFolder {
    /// All that a checkpoint can hold: the model's files, an adapter's, and a run's state.
    private static let names = Set(
        ["config.json", "generation_config.json", "model.safetensors", "resume.json", "resume.safetensors"]
            + [LoRAAdapter.configFile, LoRAAdapter.weightsFile] + ModelDirectory.companions)

    /// Whether a name in such a folder is somebody else's: writing a checkpoint keeps it.
    package static func isForeign(_ name: String) -> Bool { !names.contains(name) }

    /// Checks, before a run begins, that a checkpoint may be written to a path: nothing stands there, an empty folder, or a folder with
    /// a model and nothing else.
    /// - Throws: `ModelFileError.Reason.occupied` naming what would be in the way.
    package static func checkReplaceable(_ path: String) throws(ModelFileError) {
        let present = FileTree.names(path)
        if present.isEmpty {
            guard !exists(path) || FileTree.isFolder(path + "/.") else { throw occupied(path, "is no folder") }
            return
        }
        guard present.contains("config.json") else { throw occupied(path, "holds something that is no model") }
        if let foreign = present.first(where: isForeign) { throw occupied(path, "holds \(foreign), which is no file of a checkpoint") }
    }

    private static func occupied(_ path: String, _ problem: String) -> ModelFileError {
        ModelFileError(.occupied, path: path, problem + ", and a checkpoint takes the place of the whole folder: name another folder")
    }
}
