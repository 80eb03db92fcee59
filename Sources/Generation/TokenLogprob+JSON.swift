package import Encodings

extension [TokenLogprob] {
    /// One object a token: `token_id`, `logprob`, and `top` with the best candidates, best first.
    package var json: JSONValue {
        .array(
            map { token in
                .object([
                    "logprob": .real(Double(token.logprob)), "token_id": .integer(Int64(token.tokenID)),
                    "top": .array(
                        token.top.map { .object(["logprob": .real(Double($0.logprob)), "token_id": .integer(Int64($0.tokenID))]) }),
                ])
            })
    }
}
