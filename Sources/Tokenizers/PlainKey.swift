extension String {
    /// The text without everything that is neither a letter nor a number, by the same fixed Unicode tables as the pre-tokenizer:
    /// how a schema's marker becomes a plain key (`<|title|>` becomes `title`).
    package var lettersAndNumbers: String {
        let classes = CharacterClasses.shared
        var kept = String.UnicodeScalarView()
        for scalar in unicodeScalars {
            let kind = classes.entry(scalar.value) & CharacterClass.mask
            if kind == CharacterClass.letter || kind == CharacterClass.number { kept.append(scalar) }
        }
        return String(kept)
    }
}
