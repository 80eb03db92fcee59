internal import Encodings

/// The files of a model, dataset or tokenizer, by path and digest. Its own digest, of its canonical JSON, is what a `uri` names.
///
///     {"files":[{"path":"config.json","sha256":"…","size":310},{"path":"model.safetensors", …}]}
package struct Manifest: Sendable, Equatable {
    /// One file. Its path is relative, with `/` between names, none of them empty, `.` or `..`.
    package struct File: Sendable, Equatable {
        package let path: String
        package let sha256: String
        package let size: Int64

        /// - Throws: ``ArtifactError`` for an unsafe path, a digest that is none, a negative size.
        package init(path: String, sha256: String, size: Int64) throws(ArtifactError) {
            guard Manifest.isSafe(path) else { throw .malformedManifest("an unsafe path") }
            guard Manifest.isDigest(sha256) else { throw .malformedDigest }
            guard size >= 0 else { throw .malformedManifest("a negative size") }
            self.path = path
            self.sha256 = sha256
            self.size = size
        }
    }

    /// Ascending by path, so that equal contents have one digest.
    package let files: [File]

    /// - Throws: ``ArtifactError`` where there is no file, a path comes twice, or one is a folder of another.
    package init(files: [File]) throws(ArtifactError) {
        guard !files.isEmpty else { throw .malformedManifest("no files") }
        self.files = files.sorted { $0.path.utf8.lexicographicallyPrecedes($1.path.utf8) }
        let paths = Set(files.map(\.path))
        guard paths.count == files.count else { throw .malformedManifest("a path comes twice") }
        for file in files {
            var names = file.path.split(separator: "/").dropLast()
            while !names.isEmpty {
                guard !paths.contains(names.joined(separator: "/")) else { throw .malformedManifest("a file is the folder of another") }
                names.removeLast()
            }
        }
    }

    /// Reads a manifest's bytes.
    /// - Throws: ``ArtifactError/malformedManifest(_:)`` for all but the canonical form, so that one content has one digest.
    package init(json: [UInt8]) throws(ArtifactError) {
        guard let value = try? JSONValue.parse(json), let object = value.objectValue, object.count == 1, let list = object["files"]?.arrayValue
        else { throw .malformedManifest("no map of files") }
        var files: [File] = []
        for entry in list {
            guard let path = entry["path"]?.stringValue, let sha256 = entry["sha256"]?.stringValue, case .integer(let size)? = entry["size"] else {
                throw .malformedManifest("an entry without path, sha256 or size")
            }
            files.append(try File(path: path, sha256: sha256, size: size))
        }
        try self.init(files: files)
        guard self.json == json else { throw .malformedManifest("not canonical") }
    }

    /// Canonical JSON: what the manifest's digest is taken of.
    package var json: [UInt8] {
        let list = files.map { file in
            JSONValue.object(["path": .string(file.path), "sha256": .string(file.sha256), "size": .integer(file.size)])
        }
        return JSONValue.object(["files": .array(list)]).canonical
    }

    /// The digest of ``json``.
    package var sha256: String { SHA256Digest.hex(of: json) }

    /// Bytes of all files.
    package var byteCount: Int { files.reduce(0) { $0 &+ Int($1.size) } }

    /// Whether a path stays inside the folder it is joined to, on any system.
    static func isSafe(_ path: String) -> Bool {
        guard !path.isEmpty, path.utf8.count <= 1024, !path.utf8.contains(0), !path.utf8.contains(UInt8(ascii: "\\")) else { return false }
        return path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { name in
            !name.isEmpty && name != "." && name != ".." && name.utf8.count <= 255
        }
    }

    static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }
}
