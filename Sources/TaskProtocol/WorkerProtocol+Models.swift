import Encodings

/// Which model a reference means: asked by workers, which have no database. An answer is one of two messages, as those about artifacts are.
extension ResolvedModel {
    static func encodedQuestion(_ session: SessionID, _ number: Int, _ model: String) -> [UInt8] {
        protocolMessage("resolve", 3) {
            $0.member("session", session)
            $0.member("number", number)
            $0.member("model", model)
        }
    }

    static func encodedAnswer(_ number: Int, _ answer: Result<ResolvedModel, ContractError>) -> [UInt8] {
        switch answer {
        case .success(let model):
            protocolMessage("resolved", 2) {
                $0.member("number", number)
                $0.member("model", binary: model.json)
            }
        case .failure(let error):
            protocolMessage("unresolved", 4) {
                $0.member("number", number)
                $0.member("code", error.code.rawValue)
                $0.member("message", error.message)
                $0.member("field", error.field)
            }
        }
    }

    static func answer(_ fields: FieldReader) throws(WorkerProtocolError) -> Result<ResolvedModel, ContractError> {
        guard fields.message == "resolved" else { return .failure(try fields.contractError()) }
        let json = try fields.bytes("model")
        do throws(ContractError) { return .success(try ResolvedModel.decode(json)) } catch { throw fields.error("model") }
    }
}
