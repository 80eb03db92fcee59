internal import Encodings

/// A value of a task's parameters, written as a literal.
///
/// ```swift
/// let parameters: [String: ParameterValue] = ["model": "demo", "prompt": "In the", "n": 5, "temperature": [0.7, 1.0]]
/// ```
public enum ParameterValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case real(Double)
    case string(String)
    case list([ParameterValue])
    case map([String: ParameterValue])
}

extension ParameterValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByNilLiteral, ExpressibleByDictionaryLiteral
{
    /// A string.
    public init(stringLiteral value: String) { self = .string(value) }
    /// An integer.
    public init(integerLiteral value: Int64) { self = .integer(value) }
    /// A real.
    public init(floatLiteral value: Double) { self = .real(value) }
    /// A truth value.
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    /// A list.
    public init(arrayLiteral elements: ParameterValue...) { self = .list(elements) }
    /// Absent.
    public init(nilLiteral: ()) { self = .null }
    /// A map; of a name given twice the last value counts.
    public init(dictionaryLiteral elements: (String, ParameterValue)...) {
        self = .map(Dictionary(elements, uniquingKeysWith: { $1 }))
    }
}

extension ParameterValue {
    var json: JSONValue {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .integer(let value): .integer(value)
        case .real(let value): .real(value)
        case .string(let value): .string(value)
        case .list(let values): .array(values.map(\.json))
        case .map(let values): .object(object(values))
        }
    }
}

/// A map of values with its names in order, so that equal maps are sent as equal bytes.
func object(_ values: [String: ParameterValue]) -> JSONObject {
    var object = JSONObject()
    for (name, value) in values.sorted(by: { $0.key < $1.key }) { object[name] = value.json }
    return object
}
