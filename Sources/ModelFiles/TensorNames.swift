/// Names of tensors.
package enum TensorNames {
    /// `wte.weight` of `transformer.wte.weight`: the name in a file of the model without its head. Nil for names of two parts.
    static func withoutFirstPart(_ name: String) -> String? {
        guard let dot = name.firstIndex(of: ".") else { return nil }
        let rest = name[name.index(after: dot)...]
        return rest.contains(".") ? String(rest) : nil
    }

    /// The order of digests and of training's sums: by bytes, the same everywhere.
    package static func precedes(_ left: String, _ right: String) -> Bool { left.utf8.lexicographicallyPrecedes(right.utf8) }
}
