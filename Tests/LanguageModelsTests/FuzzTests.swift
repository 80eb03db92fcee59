import Encodings
import FoundationEssentials
import LanguageModels
import ModelFiles
import TestSupport
import Testing

@Suite("Damaged configs")
struct FuzzTests {
    private static func bytes(_ path: String) throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    @Test("config.json: damaged ones are refused or described, within bounds, and the refusal names file or key")
    func configs() throws {
        let temporary = try TemporaryDirectory()
        let path = temporary.path + "/config.json"
        let samples = try ["gpt2", "gpt2-variant", "gpt-neo", "gpt-neox", "gpt-neox-variant"].map {
            try Self.bytes(Fixtures.model($0) + "/config.json")
        }
        let report = try Fuzz(
            "config", seed: 41, rounds: 4000,
            words: [
                "\"n_layer\": 1024,", "\"n_embd\": 65536,", "\"n_head\": 0,", "\"attention_types\": [[[\"global\"], 1024]],",
                "\"rotary_pct\": 1e-300,",
                "\"rope_parameters\": {\"rope_theta\": 0},", "\"eos_token_id\": [1, 2],", "\"layer_norm_epsilon\": 5e-324,",
                "\"model_type\": \"gpt_neo\",",
            ]
        ).run(samples) { bytes in
            try Data(bytes).write(to: URL(filePath: path))
            let config: JSONObject
            do throws(ModelFileError) { config = try ModelConfig.read(path) } catch {
                #expect(error.path == path)
                return false
            }
            do throws(ModelError) {
                let description = try Architectures.describe(config: config, generation: config)
                #expect(description.attentionScales.count == description.layers && description.width % description.heads == 0)
                return true
            } catch {
                #expect(!"\(error)".isEmpty)
                return false
            }
        }
        #expect(report.isBounded && report.accepted < report.rounds, "\(report)")
    }
}
