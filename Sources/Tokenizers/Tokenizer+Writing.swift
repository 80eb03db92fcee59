import DurableFiles

extension Tokenizer {
    /// Writes `tokenizer.json`, which Hugging Face's `tokenizers` loads with equal encodings, and `vocab.json` with `merges.txt`.
    ///
    /// The two plain files know no options and no added token but `<|endoftext|>` in the vocabulary: where they would not say the whole truth
    /// they are not written. Each file appears whole or not at all.
    /// - Parameter path: a folder that exists.
    package func write(toDirectory path: String) throws(TokenizerError) {
        let folder = path.hasSuffix("/") ? path : path + "/"
        do throws(FileError) {
            try DurableFile.write(tokenizerJSON, to: folder + "tokenizer.json")
            guard plainFilesSuffice else { return }
            try DurableFile.write(vocabularyJSON, to: folder + "vocab.json")
            try DurableFile.write(mergesText, to: folder + "merges.txt")
        } catch { throw .unwritable(file: error.path, reason: error.reason) }
    }

    private var plainFilesSuffice: Bool {
        guard options == TokenizerOptions(), addedTokens.count <= 1 else { return false }
        guard let token = addedTokens.first else { return tables.vocabulary.index(of: "<|endoftext|>") == nil }
        var usual = AddedToken(id: token.id, content: "<|endoftext|>")
        usual.isNormalized = token.isNormalized
        return token == usual && decoding.vocabularyIndex[Int(token.id)] >= 0
    }

    /// `{"name":id,…}` by id, as `tokenizers` saves it.
    private var vocabularyJSON: [UInt8] {
        var text = JSONText()
        text.append("{")
        forEachName { number, name, id in
            if number > 0 { text.append(",") }
            text.append(string: name)
            text.append(":\(id)")
        }
        text.append("}")
        return text.bytes
    }

    private var mergesText: [UInt8] {
        var text = Array("#version: 0.2\n".utf8)
        for merge in merges {
            text += name(of: merge.left) + [UInt8(ascii: " ")] + name(of: merge.right) + [UInt8(ascii: "\n")]
        }
        return text
    }

    private var tokenizerJSON: [UInt8] {
        var text = JSONText()
        text.append("{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": null,\n  \"added_tokens\": [")
        for (number, token) in addedTokens.enumerated() {
            text.append(number > 0 ? ",\n    {\n" : "\n    {\n")
            text.append("      \"id\": \(token.id),\n      \"content\": ")
            text.append(string: Array(token.content.utf8))
            text.append(",\n      \"single_word\": \(token.isSingleWord),\n      \"lstrip\": \(token.stripsLeft),\n")
            text.append("      \"rstrip\": \(token.stripsRight),\n      \"normalized\": \(token.isNormalized),\n")
            text.append("      \"special\": \(token.isSpecial)\n    }")
        }
        text.append(addedTokens.isEmpty ? "],\n" : "\n  ],\n")
        text.append("  \"normalizer\": null,\n")
        text.appendByteLevel("pre_tokenizer", addPrefixSpace: options.addPrefixSpace, trimOffsets: true, useRegex: options.useRegex)
        text.appendByteLevel("post_processor", addPrefixSpace: true, trimOffsets: false, useRegex: true)
        text.appendByteLevel("decoder", addPrefixSpace: true, trimOffsets: true, useRegex: true)
        appendModel(to: &text)
        text.append("\n}")
        return text.bytes
    }

    private func appendModel(to text: inout JSONText) {
        text.append("  \"model\": {\n    \"type\": \"BPE\",\n    \"dropout\": null,\n    \"unk_token\": ")
        text.append(optional: options.unknownToken)
        text.append(",\n    \"continuing_subword_prefix\": ")
        text.append(optional: options.continuingSubwordPrefix.isEmpty ? nil : options.continuingSubwordPrefix)
        text.append(",\n    \"end_of_word_suffix\": ")
        text.append(optional: options.endOfWordSuffix.isEmpty ? nil : options.endOfWordSuffix)
        text.append(",\n    \"fuse_unk\": \(options.fuseUnknown),\n    \"byte_fallback\": \(options.byteFallback),\n")
        text.append("    \"ignore_merges\": \(options.ignoreMerges),\n    \"vocab\": {")
        forEachName { number, name, id in
            text.append(number > 0 ? ",\n      " : "\n      ")
            text.append(string: name)
            text.append(": \(id)")
        }
        text.append("\n    },\n    \"merges\": [")
        for (number, merge) in merges.enumerated() {
            text.append(number > 0 ? ",\n      [\n        " : "\n      [\n        ")
            text.append(string: name(of: merge.left))
            text.append(",\n        ")
            text.append(string: name(of: merge.right))
            text.append("\n      ]")
        }
        text.append(merges.isEmpty ? "]\n  }" : "\n    ]\n  }")
    }

    private func name(of id: Int32) -> [UInt8] { tables.vocabulary.key(Int(decoding.vocabularyIndex[Int(id)])) }

    private func forEachName(_ body: (_ number: Int, _ name: [UInt8], _ id: Int) -> Void) {
        var number = 0
        for (id, index) in decoding.vocabularyIndex.enumerated() where index >= 0 {
            body(number, tables.vocabulary.key(Int(index)), id)
            number += 1
        }
    }
}

/// JSON text laid out as `tokenizers` lays it out, so that files compare equal byte for byte.
private struct JSONText {
    var bytes: [UInt8] = []

    mutating func append(_ text: String) { bytes += text.utf8 }

    mutating func append(optional text: String?) {
        if let text { append(string: Array(text.utf8)) } else { append("null") }
    }

    mutating func append(string text: [UInt8]) {
        bytes.append(UInt8(ascii: "\""))
        for byte in text {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x08: append("\\b")
            case 0x09: append("\\t")
            case 0x0A: append("\\n")
            case 0x0C: append("\\f")
            case 0x0D: append("\\r")
            case 0..<0x20:
                let digits = Array("0123456789abcdef".utf8)
                append("\\u00")
                bytes += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }

    mutating func appendByteLevel(_ name: String, addPrefixSpace: Bool, trimOffsets: Bool, useRegex: Bool) {
        append("  \"\(name)\": {\n    \"type\": \"ByteLevel\",\n    \"add_prefix_space\": \(addPrefixSpace),\n")
        append("    \"trim_offsets\": \(trimOffsets),\n    \"use_regex\": \(useRegex)\n  },\n")
    }
}
