import Encodings
import TaskProtocol

/// A request decoded from JSON text.
func decode(_ json: String, delimited: Bool = false) -> Request { Request.decode(Array(json.utf8), isDelimited: delimited) }

/// The same request in MessagePack.
func decodePacked(_ json: String, delimited: Bool = false) throws -> Request {
    var writer = MessagePackWriter()
    try JSONValue.parse(json).write(to: &writer)
    return Request.decode(writer.bytes, isDelimited: delimited)
}

/// The error of a request, or nil where it is accepted.
func refusal(_ json: String, delimited: Bool = false) -> ContractError? {
    if case .failure(let error) = decode(json, delimited: delimited).operation { error } else { nil }
}

/// `code field` of an error, short for tables.
func short(_ error: ContractError?) -> String { error.map { "\($0.code.rawValue) \($0.field ?? "-")" } ?? "accepted" }

func submit(generate params: String) -> String { #"{"op":"submit","task":{"kind":"generate","params":\#(params)}}"# }
func submit(finetune params: String) -> String { #"{"op":"submit","task":{"kind":"finetune","params":\#(params)}}"# }

/// A generate's params with one member beside the model.
func generate(_ name: String, _ value: String) -> String { submit(generate: #"{"model":"demo","\#(name)":\#(value)}"#) }

/// A finetune's params with one member beside the required ones.
func finetune(_ name: String, _ value: String) -> String {
    submit(finetune: #"{"model":"demo","output":"mine","dataset":{"text":"abc"},"\#(name)":\#(value)}"#)
}

func parameters(_ json: String) throws -> TaskParameters {
    guard case .submit(let request) = try decode(json).operation.get() else { throw ContractError(.internalError, "not a submit") }
    return request.tasks[0].parameters
}
