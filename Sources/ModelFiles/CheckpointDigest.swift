package import Encodings

/// The digest that names a checkpoint (reproducibility.md 13), as 64 hexadecimal digits.
///
/// SHA-256 over a stream of parts, each preceded by its length as a little-endian u64: the canonical JSON of
/// `{"architecture", "bos_token_id", "config", "eos_token_id", "format"}`; then, tensor by tensor in the order of their
/// export names, the canonical JSON of `{"dtype", "name", "shape"}` and the bytes as stored. File formats, prefixes, shards,
/// dates and versions leave no trace. An adapter follows its base: the canonical JSON of `{"adapter", "alpha", "rank"}`, then
/// its tensors likewise.
/// - Parameters:
///   - architecture: `gpt2`, …
///   - configKeys: the config's members that the model description reads, defaults filled in.
///   - bosTokenID: the token that begins a text; nil is written as null.
///   - eosTokenIDs: the tokens that end one.
///   - tensors: the model's weights and nothing else (``TensorCollection/selecting(_:)``).
///   - progress: called after each of them.
package func checkpointDigest(
    architecture: String, configKeys: JSONObject, bosTokenID: Int?, eosTokenIDs: [Int], tensors: TensorCollection, progress: (() -> Void)? = nil
) throws(ModelFileError) -> String {
    var digest = SHA256Digest()
    let head: JSONObject = [
        "format": .string("scriptorium-checkpoint/1"),
        "architecture": .string(architecture),
        "config": .object(configKeys),
        "bos_token_id": bosTokenID.map { .integer(Int64($0)) } ?? .null,
        "eos_token_id": .array(eosTokenIDs.sorted().map { .integer(Int64($0)) }),
    ]
    digest.append(part: JSONValue.object(head).canonical)
    try append(tensors.unmerged, to: &digest, progress)
    if let adapter = tensors.adapter {
        let head: JSONObject = ["adapter": .string("lora"), "alpha": .real(adapter.alpha), "rank": .integer(Int64(adapter.rank))]
        digest.append(part: JSONValue.object(head).canonical)
        try append(adapter.tensors, to: &digest, progress)
    }
    return hexString(digest.finish())
}

/// Every tensor as stored, in the order of their names.
private func append(_ tensors: TensorCollection, to digest: inout SHA256Digest, _ progress: (() -> Void)?) throws(ModelFileError) {
    for name in tensors.names {
        guard let info = tensors.info(name) else { continue }
        let description: JSONObject = [
            "name": .string(name), "dtype": .string(info.dtype.rawValue), "shape": .array(info.shape.map { .integer(Int64($0)) }),
        ]
        digest.append(part: JSONValue.object(description).canonical)
        try tensors.withBytes(name) { bytes in
            digest.append(length: bytes.count)
            digest.update(bytes)
        }
        progress?()
    }
}

extension SHA256Digest {
    fileprivate mutating func append(length: Int) {
        withUnsafeBytes(of: UInt64(length).littleEndian) { update($0) }
    }

    fileprivate mutating func append(part: [UInt8]) {
        append(length: part.count)
        update(part)
    }
}
