import Encodings

extension Tokenizer {
    /// SHA-256 over a canonical stream, so that equal tokenizers have one name whatever files they came from.
    ///
    /// The stream: the line `scriptorium tokenizer 1`; the options as canonical JSON and a newline; the number of ids, then for each id
    /// its name in the vocabulary (length, UTF-8 bytes; length 2³²-1 for an id that is not in the vocabulary); the number of merges, then
    /// the two ids of each in order of rank; the number of added tokens, then by id: the id, a byte of flags (1 special, 2 strips left,
    /// 4 strips right, 8 single word, 16 looked for after the others), length and bytes. Numbers are 32-bit little-endian.
    /// The last flag is left out where all added tokens agree in it, since it then changes nothing.
    static func digest(
        options: TokenizerOptions, decoding: DecodingTable, vocabulary: ByteStringTable, ids: [Int32], merges: [TokenizerBuilder.Merge],
        added: [AddedToken]
    ) -> String {
        var stream = Array("scriptorium tokenizer 1\n".utf8)
        stream += options.canonical + [UInt8(ascii: "\n")]
        append(decoding.count, to: &stream)
        for index in decoding.vocabularyIndex {
            if index < 0 {
                append(Int(UInt32.max), to: &stream)
            } else {
                vocabulary.withKey(Int(index)) { name in
                    append(name.count, to: &stream)
                    stream.append(contentsOf: name)
                }
            }
        }
        append(merges.count, to: &stream)
        for merge in merges {
            append(Int(merge.left), to: &stream)
            append(Int(merge.right), to: &stream)
        }
        append(added.count, to: &stream)
        let phasesMatter = added.contains(where: \.isNormalized) && !added.allSatisfy(\.isNormalized)
        for token in added {
            append(Int(token.id), to: &stream)
            stream.append(token.flags(phasesMatter: phasesMatter))
            let content = Array(token.content.utf8)
            append(content.count, to: &stream)
            stream += content
        }
        return SHA256Digest.hex(of: stream)
    }

    private static func append(_ number: Int, to stream: inout [UInt8]) {
        let value = UInt32(truncatingIfNeeded: number)
        for shift in stride(from: UInt32(0), to: 32, by: 8) { stream.append(UInt8(truncatingIfNeeded: value >> shift)) }
    }
}

extension TokenizerOptions {
    /// The options as canonical JSON, with the names that `tokenizer.json` has for them, defaults included.
    var canonical: [UInt8] {
        let value: JSONValue = [
            "add_prefix_space": .bool(addPrefixSpace), "byte_fallback": .bool(byteFallback),
            "continuing_subword_prefix": .string(continuingSubwordPrefix), "end_of_word_suffix": .string(endOfWordSuffix),
            "fuse_unk": .bool(fuseUnknown), "ignore_merges": .bool(ignoreMerges), "unk_token": unknownToken.map { .string($0) } ?? .null,
            "use_regex": .bool(useRegex),
        ]
        return value.canonical
    }
}

extension AddedToken {
    fileprivate func flags(phasesMatter: Bool) -> UInt8 {
        (isSpecial ? 1 : 0) | (stripsLeft ? 2 : 0) | (stripsRight ? 4 : 0) | (isSingleWord ? 8 : 0) | (phasesMatter && isNormalized ? 16 : 0)
    }
}
