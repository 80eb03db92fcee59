import Encodings

/// The records that travel inside messages, under the names of the columns that they become.
extension GenerationRecord {
    func writeWire(to writer: inout MessagePackWriter) {
        writer.beginMap(18)
        writer.member("sample", sample)
        writer.member("prompt_index", promptIndex)
        writer.member("draw", draw)
        writer.member("prompt", prompt)
        writer.member("text", text)
        writer.member("schema", binary: schema)
        writer.member("prompt_token_ids", promptTokenIDs)
        writer.member("token_ids", tokenIDs)
        writer.member("finish_reason", finishReason.rawValue)
        writer.member("mean_logprob", meanLogprob)
        writer.member("logprobs", binary: logprobs)
        writer.member("redrawn", redrawn)
        writer.member("params", binary: params)
        writer.member("record_sha256", recordSHA256)
        writer.member("signature", signature)
        writer.member("numerics", numerics)
        writer.member("checkpoint_sha256", checkpointSHA256)
        writer.member("tokenizer_sha256", tokenizerSHA256)
        writer.endMap()
    }

    static func decode(_ fields: FieldReader) throws(WorkerProtocolError) -> GenerationRecord {
        GenerationRecord(
            sample: try fields.count("sample"), promptIndex: try fields.count("prompt_index"), draw: try fields.count("draw"),
            prompt: try fields.string("prompt"), text: try fields.string("text"), schema: try fields.optionalBytes("schema"),
            promptTokenIDs: try fields.tokens("prompt_token_ids"), tokenIDs: try fields.tokens("token_ids"),
            finishReason: try fields.choice("finish_reason", FinishReason.self), meanLogprob: try fields.optionalDouble("mean_logprob"),
            logprobs: try fields.optionalBytes("logprobs"), redrawn: try fields.optionalCount("redrawn"), params: try fields.bytes("params"),
            recordSHA256: try fields.digest("record_sha256"), signature: try fields.optionalString("signature"),
            numerics: try fields.string("numerics"),
            checkpointSHA256: try fields.digest("checkpoint_sha256"), tokenizerSHA256: try fields.digest("tokenizer_sha256"))
    }
}

extension CheckpointRecord {
    func writeWire(to writer: inout MessagePackWriter) {
        writer.beginMap(12)
        writer.member("step", step)
        writer.member("manifest", manifest)
        writer.member("sha256", sha256)
        writer.member("tokenizer_sha256", tokenizerSHA256)
        writer.member("architecture", architecture)
        writer.member("parameters", parameters)
        writer.member("context_length", contextLength)
        writer.member("bytes", bytes)
        writer.member("line_by_line", lineByLine)
        writer.member("config", binary: config)
        writer.member("loss", loss)
        writer.member("average_loss", averageLoss)
        writer.endMap()
    }

    static func decode(_ fields: FieldReader) throws(WorkerProtocolError) -> CheckpointRecord {
        CheckpointRecord(
            step: try fields.count("step"), manifest: try fields.digest("manifest"), sha256: try fields.digest("sha256"),
            tokenizerSHA256: try fields.digest("tokenizer_sha256"), architecture: try fields.string("architecture"),
            parameters: Int64(try fields.count("parameters")), contextLength: try fields.count("context_length"),
            bytes: Int64(try fields.count("bytes")), lineByLine: try fields.bool("line_by_line"), config: try fields.bytes("config"),
            loss: try fields.optionalDouble("loss"), averageLoss: try fields.optionalDouble("average_loss"))
    }
}

extension TrainingStepRecord {
    func writeWire(to writer: inout MessagePackWriter) {
        writer.beginMap(6)
        writer.member("step", step)
        writer.member("loss", loss)
        writer.member("average_loss", averageLoss)
        writer.member("learning_rate", learningRate)
        writer.member("grad_norm", gradientNorm)
        writer.member("tokens_per_second", tokensPerSecond)
        writer.endMap()
    }

    static func decode(_ fields: FieldReader) throws(WorkerProtocolError) -> TrainingStepRecord {
        TrainingStepRecord(
            step: try fields.count("step"), loss: try fields.double("loss"), averageLoss: try fields.double("average_loss"),
            learningRate: try fields.double("learning_rate"), gradientNorm: try fields.double("grad_norm"),
            tokensPerSecond: try fields.double("tokens_per_second"))
    }
}

extension FieldReader {
    /// 64 hexadecimal digits in lower case.
    func digest(_ field: String) throws(WorkerProtocolError) -> String {
        let value = try string(field)
        guard value.utf8.count == 64, value.utf8.allSatisfy({ (48...57).contains($0) || (97...102).contains($0) }) else { throw error(field) }
        return value
    }
}
