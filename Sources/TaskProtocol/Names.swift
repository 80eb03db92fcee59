/// The contract's forms of names and references.
package enum Names {
    /// Whether a `uri` is a web address, not a digest.
    package static func isWebAddress(_ text: String) -> Bool { text.hasPrefix("https://") || text.hasPrefix("http://") }

    /// The named configurations of the contract.
    package static let configs = ["gpt2-cpu", "gpt-neo-cpu", "gpt2"]

    /// How many tokens a model of a named configuration sees at once.
    package static let contextLengths = ["gpt2-cpu": 64, "gpt-neo-cpu": 64, "gpt2": 1024]

    /// Whether text is a name: `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`, and no UUID.
    package static func isName(_ text: some StringProtocol) -> Bool {
        let utf8 = text.utf8
        guard (1...100).contains(utf8.count), let first = utf8.first, isAlphanumeric(first) else { return false }
        guard utf8.allSatisfy({ isAlphanumeric($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") }) else {
            return false
        }
        return utf8.count != 36 || UUIDValue(String(text)) == nil
    }

    /// The 64 lower-case digits of `sha256:…`; nil for any other text.
    package static func digest(_ text: String) -> String? {
        guard text.utf8.count == 71, text.hasPrefix("sha256:") else { return nil }
        let digits = text.dropFirst(7).lowercased()
        return isDigest(digits) ? digits : nil
    }

    /// Whether text is 64 lower-case hexadecimal digits.
    package static func isDigest(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { (48...57).contains($0) || (97...102).contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
    }
}

/// What a `model` parameter points at.
package enum ModelReference: Sendable, Equatable {
    case name(String)
    /// The checkpoint of that step filed under the name.
    case step(name: String, step: Int)
    case checkpoint(CheckpointID)
    /// A checkpoint digest.
    case digest(String)

    /// The reference that text spells; nil where it has none of the four forms.
    package init?(_ text: String) {
        if let digest = Names.digest(text) {
            self = .digest(digest)
        } else if let id = UUIDValue(text) {
            self = .checkpoint(id)
        } else if Names.isName(text) {
            self = .name(text)
        } else {
            let parts = text.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, Names.isName(parts[0]), parts[1].utf8.count <= 15, parts[1].utf8.allSatisfy({ (48...57).contains($0) }),
                let step = Int(parts[1])
            else { return nil }
            self = .step(name: String(parts[0]), step: step)
        }
    }
}
