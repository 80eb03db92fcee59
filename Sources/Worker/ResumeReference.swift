import Encodings

/// From where a finetune goes on: an artifact that the next attempt lays out as files. Brokers keep its JSON without reading it.
package struct ResumeReference: Sendable, Hashable {
    /// SHA-256 of the manifest of the resume state's files.
    package var manifest: String
    package var step: Int

    package init(manifest: String, step: Int) {
        self.manifest = manifest
        self.step = step
    }

    /// Nil where the bytes are none of ours: the run then begins anew.
    package init?(json: [UInt8]) {
        guard let root = try? Document.parse(json: json).root, let manifest = root["manifest"]?.stringValue, let step = root["step"]?.integerValue,
            manifest.utf8.count == 64, step >= 0
        else { return nil }
        self.init(manifest: manifest, step: Int(step))
    }

    /// Canonical JSON.
    package var json: [UInt8] {
        JSONValue.object(["manifest": .string(manifest), "step": .integer(Int64(step))]).canonical
    }
}
