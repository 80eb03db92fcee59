/// A low-rank adapter to train in the model's stead: names, meanings and defaults are PEFT's.
///
/// Each target's weight W stays as it is and gets an update (alpha / rank)·B·A beside it, A of `rank` rows and B of `rank` columns.
package struct LoRAOptions: Sendable, Equatable {
    /// Rows of A and columns of B (PEFT's `r`).
    package var rank = 8
    /// The update is multiplied by alpha / rank (PEFT's `lora_alpha`).
    package var alpha = 8.0
    /// The probability of dropping an element of what enters A (PEFT's `lora_dropout`).
    package var dropout = 0.0
    /// Names of modules, or ends of their paths (`c_attn`, `mlp.c_proj`). Nil: what makes query and value, as PEFT chooses for
    /// these models: `c_attn` in GPT-2, `q_proj` and `v_proj` in GPT Neo, `query_key_value` in GPT-NeoX.
    package var targets: [String]?

    package init() {}

    /// - Throws: `TrainingError.option` naming the first member at fault.
    func validate() throws(TrainingError) {
        func check(_ holds: Bool, _ name: String, _ message: String) throws(TrainingError) {
            if !holds { throw .option(name: "lora.\(name)", message: message) }
        }
        try check(rank >= 1 && rank <= 4096, "rank", "must be 1 to 4,096, not \(rank)")
        try check(alpha > 0 && alpha <= 1e6, "alpha", "must be above 0 and at most 1,000,000, not \(alpha)")
        try check(dropout >= 0 && dropout < 1, "dropout", "must be 0 or more and below 1, not \(dropout)")
        if let targets { try check(!targets.isEmpty && Set(targets).count == targets.count, "targets", "must be different names, at least one") }
    }
}
