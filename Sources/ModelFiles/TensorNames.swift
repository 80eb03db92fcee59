/// The names under which tensors are exported, and which stored tensors are no weights.
///
/// The hub's original files of GPT-2 and GPT Neo carry no `transformer.` prefix and hold attention masks; other writers add
/// the prefix, or a copy of the tied output matrix. All of them have one set of names here: `transformer.` in front, no
/// masks, no tied copies (engine.md 2.1), so all of them have one digest too.
package enum TensorNames {
    private static let unprefixed = ["wte.", "wpe.", "h.", "ln_f."]
    private static let buffers = [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"]

    /// The export name of a stored name.
    package static func exported(_ stored: String) -> String {
        unprefixed.contains(where: stored.hasPrefix) ? "transformer." + stored : stored
    }

    /// Whether a tensor is a mask or table that the code computes itself.
    package static func isBuffer(_ name: String) -> Bool { buffers.contains(where: name.hasSuffix) }

    /// Whether a tensor repeats the token embedding where the config ties the two.
    package static func isTiedCopy(_ name: String, tied: Bool) -> Bool { tied && (name == "lm_head.weight" || name == "embed_out.weight") }

    /// The order of digests and of training's sums: by bytes, the same everywhere.
    package static func precedes(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }
}
