package import Kernels
package import ModelFiles

/// A loaded causal language model: its description and its weights, packed for one instruction set.
///
///     let model = try LanguageModel.load(ModelDirectory.open("/models/gpt2"), pool: pool)
///     let session = try InferenceSession(model: model, pool: pool)
///
/// Weights never change, so any number of sessions may share it. Memory: the packed weights, of which a tied head
/// serves as the token embedding too; while loading one tensor more. Matrices are rounded to ``precision`` once, as they are
/// loaded; vectors, positions and an embedding of its own stay float32.
package final class LanguageModel: Sendable {
    package let description: ModelDescription
    /// The checkpoint's digest (reproducibility, point 13).
    package let checkpointSHA256: String
    /// What the matrices are kept as.
    package let precision: WeightPrecision
    let embedding: FloatBuffer?
    let positions: FloatBuffer?
    let rotary: RotaryTable?
    let layers: [LayerWeights]
    let finalNorm: NormWeights
    let head: PackedMatrix

    /// Reads a directory's weights, one tensor at a time.
    /// - Parameters:
    ///   - precision: what the matrices become.
    ///   - pool: packs them; its instruction set is the one that the model can run on.
    ///   - checkpointSHA256: the digest where it is known and checked already; nil: it is computed, one more pass over the files.
    ///   - progress: called with the share that is done, 0 ... 1.
    /// - Throws: ``ModelError`` naming the key or tensor that is wrong.
    package static func load(
        _ directory: ModelDirectory, precision: WeightPrecision = .float32, pool: ThreadPool, checkpointSHA256: String? = nil,
        progress: ((Double) -> Void)? = nil
    ) throws(ModelError) -> LanguageModel {
        let description = try Architectures.describe(config: directory.config, generation: directory.generationConfig)
        let weights = try description.weights(in: directory.tensors)
        let digest = if let checkpointSHA256 { checkpointSHA256 } else { try description.checkpointDigest(weights) { progress?(0) } }
        for name in weights.names { weights.releasePages(of: name) }
        let source = DirectoryWeights(tensors: weights)
        return try LanguageModel(description, from: source, precision: precision, digest: digest, pool: pool, progress: progress)
    }

    /// A model of this shape with arbitrary weights, for benchmarks and tests.
    package static func random(
        _ description: ModelDescription, seed: UInt64, scale: Float = 0.02, precision: WeightPrecision = .float32, pool: ThreadPool
    ) throws(ModelError) -> LanguageModel {
        let digest = String(repeating: "0", count: 64)
        let weights = RandomWeights(seed: seed, scale: scale)
        return try LanguageModel(description, from: weights, precision: precision, digest: digest, pool: pool, progress: nil)
    }

    private init(
        _ description: ModelDescription, from source: some WeightSource, precision: WeightPrecision, digest: String, pool: ThreadPool,
        progress: ((Double) -> Void)?
    ) throws(ModelError) {
        let loader = WeightLoader(source: source, precision: precision, pool: pool)
        let tensors = description.tensors
        let steps = Double(description.layers + 2)
        head = try loader.head(tensors.head ?? tensors.tokenEmbedding)
        embedding = tensors.head == nil ? nil : try loader.vector(tensors.tokenEmbedding)
        progress?(1 / steps)
        positions = try tensors.positionEmbedding.map { specification throws(ModelError) in try loader.vector(specification) }
        rotary = description.rotary.map { RotaryTable($0, positions: description.contextLength) }
        finalNorm = try loader.norm(tensors.finalNorm)
        var layers: [LayerWeights] = []
        for layout in tensors.layers {
            layers.append(try loader.layer(layout))
            progress?(Double(layers.count + 1) / steps)
        }
        self.layers = layers
        self.description = description
        self.precision = precision
        checkpointSHA256 = digest
        progress?(1)
    }

    /// Bytes that the weights take in memory.
    package var weightsByteCount: Int {
        let floats =
            (embedding?.count ?? 0) + (positions?.count ?? 0) + (rotary?.floatCount ?? 0) + finalNorm.floatCount
            + layers.reduce(0) { $0 + $1.floatCount }
        return floats * MemoryLayout<Float>.stride + head.byteCount + layers.reduce(0) { $0 + $1.matrixByteCount }
    }

    /// Fails where a tokenizer has ids beyond the model's rows.
    /// - Parameter tokenizerCount: one more than the tokenizer's highest id.
    package func check(tokenizerCount: Int) throws(ModelError) {
        guard tokenizerCount <= description.vocabularySize else {
            throw .tokenizerTooLarge(tokens: tokenizerCount, rows: description.vocabularySize)
        }
    }
}

extension ModelDescription {
    /// The tensors that this description is made of, out of whatever a model's files hold, under their export names.
    /// - Throws: ``ModelError/missingTensor(_:)``, ``ModelError/wrongShape(_:expected:found:)`` or ``ModelError/furtherLayer(_:)``; within
    ///   ``ModelError/assumed(_:_:)`` where config.json leaves sizes out.
    package func weights(in stored: TensorCollection) throws(ModelError) -> TensorCollection {
        do throws(ModelError) {
            return try matchingWeights(in: stored)
        } catch {
            if assumed.isEmpty { throw error }
            if case .files = error { throw error }
            throw .assumed(assumed, error)
        }
    }

    private func matchingWeights(in stored: TensorCollection) throws(ModelError) -> TensorCollection {
        let weights: TensorCollection
        do {
            weights = try stored.selecting(tensors.all.map(\.name))
        } catch { throw .files(error.description) }
        for wanted in tensors.all {
            guard let info = weights.info(wanted.name) else { throw .missingTensor(wanted.name) }
            guard info.shape == wanted.shape else { throw .wrongShape(wanted.name, expected: wanted.shape, found: info.shape) }
        }
        try checkDepth(stored)
        return weights
    }

    /// A number of layers that nobody gave must be that of the files. (One that is given may be less, as transformers has it.)
    private func checkDepth(_ stored: TensorCollection) throws(ModelError) {
        guard !Set(assumed).isDisjoint(with: ["n_layer", "num_layers", "num_hidden_layers"]), let last = tensors.layers.last else { return }
        let next = last.norm1.gain.name.replacing(".\(layers - 1).", with: ".\(layers).")
        let found: Bool
        do throws(ModelFileError) { found = try stored.selecting([next]).info(next) != nil } catch { throw .files(error.description) }
        if found { throw .furtherLayer(next) }
    }

    /// The digest of a checkpoint with this description.
    /// - Parameters:
    ///   - weights: its tensors (``weights(in:)``).
    ///   - progress: called after each of them.
    package func checkpointDigest(_ weights: TensorCollection, progress: (() -> Void)? = nil) throws(ModelError) -> String {
        do {
            return try ModelFiles.checkpointDigest(
                architecture: architecture, configKeys: digestKeys, bosTokenID: bosID.map { Int($0) }, eosTokenIDs: eosIDs.map { Int($0) },
                tensors: weights, progress: progress)
        } catch {
            throw .files(error.description)
        }
    }
}
