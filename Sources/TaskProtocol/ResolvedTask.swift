internal import Encodings

/// A task with every name pinned and every value effective: what a worker is given, and what all attempts share.
package struct ResolvedTask: Sendable, Equatable {
    package var parameters: TaskParameters
    package var seed: Int64
    /// Whether the service drew ``seed``.
    package var seedAssigned: Bool
    /// The model, or a finetune's base; nil for training from scratch.
    package var model: ResolvedModel?
    /// A finetune's named or addressed dataset; nil where the text stands in the parameters.
    package var dataset: ResolvedDataset?
    /// Where a corpus is put together from several: the named and addressed ones among them, in order (``FinetuneParameters/leaves``).
    package var datasets: [ResolvedDataset]
    /// A finetune's named or addressed tokenizer; nil: the base model's, or one to be trained.
    package var tokenizer: ResolvedTokenizer?
    /// The stored texts that a verify is to prove, as they stood when it was pinned.
    package var texts: [ResolvedText]

    package init(
        parameters: TaskParameters, seed: Int64, seedAssigned: Bool, model: ResolvedModel? = nil, dataset: ResolvedDataset? = nil,
        datasets: [ResolvedDataset] = [], tokenizer: ResolvedTokenizer? = nil, texts: [ResolvedText] = []
    ) {
        self.parameters = parameters
        self.seed = seed
        self.seedAssigned = seedAssigned
        self.model = model
        self.dataset = dataset
        self.datasets = datasets
        self.tokenizer = tokenizer
        self.texts = texts
    }

    package var kind: TaskKind { parameters.kind }

    /// What the model of a verify's texts is rounded to: they are of one task, so the first one's record tells.
    package var textPrecision: Precision {
        let proof = texts.first.flatMap { try? JSONValue.parse($0.proof) }
        return proof?["precision"]?.stringValue.flatMap(Precision.init(rawValue:)) ?? .float32
    }
}

/// A model that cannot change any more.
package struct ResolvedModel: Sendable, Equatable {
    /// The name that it was asked by; nil where it was asked by digest.
    package var name: String?
    package var checkpoint: CheckpointID
    /// The checkpoint digest, 64 hexadecimal digits.
    package var sha256: String
    /// SHA-256 of the manifest of its files, 64 hexadecimal digits.
    package var manifest: String
    package var tokenizerSHA256: String?
    package var contextLength: Int
    /// Whether it was trained line by line, which decides `prepend_bos`.
    package var lineByLine: Bool
    /// Training steps that it has seen, where known.
    package var step: Int?

    package init(
        name: String?, checkpoint: CheckpointID, sha256: String, manifest: String, tokenizerSHA256: String?, contextLength: Int, lineByLine: Bool,
        step: Int? = nil
    ) {
        self.name = name
        self.checkpoint = checkpoint
        self.sha256 = sha256
        self.manifest = manifest
        self.tokenizerSHA256 = tokenizerSHA256
        self.contextLength = contextLength
        self.lineByLine = lineByLine
        self.step = step
    }
}

/// A dataset that cannot change any more.
package struct ResolvedDataset: Sendable, Equatable {
    package var name: String?
    /// SHA-256 of the artifact (a manifest, or plain bytes), 64 hexadecimal digits.
    package var sha256: String
    package var lineByLine: Bool
    /// Where it is encoded already: the tokenizer that it was encoded with.
    package var tokenizerSHA256: String?

    package init(name: String?, sha256: String, lineByLine: Bool, tokenizerSHA256: String? = nil) {
        self.name = name
        self.sha256 = sha256
        self.lineByLine = lineByLine
        self.tokenizerSHA256 = tokenizerSHA256
    }
}

/// A tokenizer that cannot change any more.
package struct ResolvedTokenizer: Sendable, Equatable {
    package var name: String?
    /// SHA-256 of the artifact (a manifest with the tokenizer's files, or tokenizer.json itself), 64 hexadecimal digits.
    package var sha256: String

    package init(name: String?, sha256: String) {
        self.name = name
        self.sha256 = sha256
    }
}

/// A stored text with all that proves it.
package struct ResolvedText: Sendable, Equatable {
    /// Its row.
    package var generation: UUIDValue
    /// JSON of what the row says, as `scriptorium.proof()` puts it together.
    package var proof: [UInt8]

    package init(generation: UUIDValue, proof: [UInt8]) {
        self.generation = generation
        self.proof = proof
    }
}
