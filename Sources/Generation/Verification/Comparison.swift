import Encodings

/// Compares what a record yields with what a claim says.
enum Comparison {
    /// Everything that differs, what tells most first.
    /// - Parameter sample: what the record yields.
    static func findings(_ claim: Claim, _ record: ProofRecord, _ sample: GeneratedSample) -> [Finding] {
        var found: [Finding] = []
        if sample.isCut, sample.draw != record.draw { return [draw(expected: sample.draw, actual: record.draw)] }
        if let finding = tokens(expected: sample.tokenIDs, actual: record.tokenIDs) { found.append(finding) }
        if sample.isCut { return found }
        if sample.finishReason != record.finishReason { found.append(finishReason(expected: sample.finishReason, actual: record.finishReason)) }
        if sample.draw != record.draw { found.append(draw(expected: sample.draw, actual: record.draw)) }
        if let text = claim.text, let finding = self.text(expected: sample.text, actual: text) { found.append(finding) }
        return found + rest(claim, sample)
    }

    /// What a text's tokens should be.
    static func tokens(expected: [Int32], actual: [Int32]) -> Finding? {
        guard expected != actual else { return nil }
        let index = zip(expected, actual).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(expected.count, actual.count)
        return token(
            index, expected: index < expected.count ? expected[index] : nil, actual: index < actual.count ? actual[index] : nil)
    }

    /// A token that is another, or should not be, or is missing.
    static func token(_ index: Int, expected: Int32?, actual: Int32?) -> Finding {
        let value = { (id: Int32?) in id.map { JSONValue.integer(Int64($0)) } ?? .null }
        let message =
            switch (expected, actual) {
            case (let expected?, let actual?): "token \(index) is \(actual), and the record yields \(expected)"
            case (let expected?, nil): "the text stops short: the record yields \(expected) as its token \(index)"
            case (nil, let actual?): "the text had ended before token \(index), \(actual)"
            case (nil, nil): "no token can be chosen as token \(index)"
            }
        return Finding(.tokens, message, Difference(field: "token_ids", token: index, expected: value(expected), actual: value(actual)))
    }

    static func finishReason(expected: FinishReason, actual: FinishReason) -> Finding {
        Finding(
            .finishReason, "the text ended by \(expected.rawValue), and not by \(actual.rawValue)",
            Difference(field: "finish_reason", expected: .string(expected.rawValue), actual: .string(actual.rawValue)))
    }

    static func draw(expected: Int, actual: Int) -> Finding {
        Finding(
            .draw, "draw \(expected) is the one that would have been kept, and not draw \(actual)",
            Difference(field: "draw", expected: .integer(Int64(expected)), actual: .integer(Int64(actual))))
    }

    /// Characters of a text that a difference shows.
    private static let shown = 40

    /// The first character that differs, compared byte for byte: equal-looking spellings are not equal.
    static func text(expected: String, actual: String) -> Finding? {
        guard !expected.utf8.elementsEqual(actual.utf8) else { return nil }
        let (left, right) = (Array(expected.unicodeScalars), Array(actual.unicodeScalars))
        let index = zip(left, right).enumerated().first { $0.element.0 != $0.element.1 }?.offset ?? min(left.count, right.count)
        let excerpt = { (scalars: [Unicode.Scalar]) in
            var text = String.UnicodeScalarView()
            text.append(contentsOf: scalars.dropFirst(index).prefix(Self.shown))
            return JSONValue.string(String(text))
        }
        return Finding(
            .text, "the text is not what its tokens spell, from character \(index) on",
            Difference(field: "text", character: index, expected: excerpt(left), actual: excerpt(right)))
    }

    /// What stands beside record and text, where it was given.
    static func rest(_ claim: Claim, _ sample: GeneratedSample) -> [Finding] {
        var found: [Finding] = []
        if let given = claim.schema, given.canonical != sample.schema {
            let yielded = sample.schema.flatMap { try? JSONValue.parse($0) } ?? .null
            found.append(
                Finding(
                    .schema, "the text is not cut into these parts",
                    Difference(field: "schema", expected: yielded, actual: given)))
        }
        if let given = claim.logprobs, given.canonical != sample.logprobs?.json.canonical {
            found.append(logprobs(given, sample.logprobs))
        }
        if let mean = claim.meanLogprob, mean != sample.meanLogprob {
            found.append(
                Finding(
                    .logprobs, "the tokens have another mean log-probability",
                    Difference(field: "mean_logprob", expected: .real(sample.meanLogprob), actual: .real(mean))))
        }
        return found
    }

    private static func logprobs(_ given: JSONValue, _ yielded: [TokenLogprob]?) -> Finding {
        let (left, right) = (yielded?.json.arrayValue ?? [], given.arrayValue ?? [])
        let index = zip(left, right).enumerated().first { $0.element.0.canonical != $0.element.1.canonical }?.offset ?? min(left.count, right.count)
        return Finding(
            .logprobs, "the log-probabilities are not the model's, from token \(index) on",
            Difference(
                field: "logprobs", token: index, expected: index < left.count ? left[index] : .null,
                actual: index < right.count ? right[index] : .null))
    }
}
