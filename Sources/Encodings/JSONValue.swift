/// Any JSON value: for configuration and small metadata, where convenience matters more than time.
///
/// Requests on the queue's hot path are read through ``Document`` and ``Node`` instead, which make no enum and no dictionary.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case real(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)
}

extension JSONValue {
    /// The value that strict JSON text spells.
    /// - Parameters:
    ///   - bytes: UTF-8, with or without a byte order mark and white space around.
    ///   - maximumDepth: how many containers may stand within each other.
    ///   - refuseNUL: whether a string with U+0000 is an error (what goes to PostgreSQL must say so).
    /// - Throws: ``DocumentError`` for anything else, a name given twice and lone surrogates among it.
    package static func parse(_ bytes: UnsafeRawBufferPointer, maximumDepth: Int = 32, refuseNUL: Bool = false) throws(DocumentError) -> JSONValue {
        try JSONValue(Document.parse(json: bytes, maximumDepth: maximumDepth, allowNUL: !refuseNUL).root)
    }

    /// ``parse(_:maximumDepth:refuseNUL:)-(UnsafeRawBufferPointer,_,_)`` of an array.
    package static func parse(_ bytes: [UInt8], maximumDepth: Int = 32, refuseNUL: Bool = false) throws(DocumentError) -> JSONValue {
        try JSONValue(Document.parse(json: bytes, maximumDepth: maximumDepth, allowNUL: !refuseNUL).root)
    }

    /// ``parse(_:maximumDepth:refuseNUL:)-(UnsafeRawBufferPointer,_,_)`` of a string.
    package static func parse(_ text: String, maximumDepth: Int = 32, refuseNUL: Bool = false) throws(DocumentError) -> JSONValue {
        try parse(Array(text.utf8), maximumDepth: maximumDepth, refuseNUL: refuseNUL)
    }

    /// The same tree as a node of a document. Binary values (MessagePack only) become null.
    package init(_ node: Node) {
        switch node.kind {
        case .null, .binary: self = .null
        case .bool: self = .bool(node.boolValue ?? false)
        case .integer: self = .integer(node.integerValue ?? 0)
        case .real: self = .real(node.doubleValue ?? 0)
        case .string: self = .string(node.stringValue ?? "")
        case .array:
            var items: [JSONValue] = []
            items.reserveCapacity(node.count)
            node.forEachElement { items.append(JSONValue($0)) }
            self = .array(items)
        case .map:
            var object = JSONObject()
            object.reserveCapacity(node.count)
            node.forEachMember { key, value in object[key.stringValue ?? ""] = JSONValue(value) }
            self = .object(object)
        }
    }
}

extension JSONValue {
    /// The text, of a string.
    package var stringValue: String? { if case .string(let value) = self { value } else { nil } }

    /// The number, of an integer or of a real without fraction that an `Int` holds exactly (JSON does not tell 2 from 2.0).
    package var intValue: Int? {
        switch self {
        case .integer(let value): Int(value)
        case .real(let value): Int(exactly: value)
        default: nil
        }
    }

    /// The number, of an integer or a real.
    package var doubleValue: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .real(let value): value
        default: nil
        }
    }

    /// The truth value, of true and false.
    package var boolValue: Bool? { if case .bool(let value) = self { value } else { nil } }

    /// The elements, of an array.
    package var arrayValue: [JSONValue]? { if case .array(let value) = self { value } else { nil } }

    /// The members, of an object.
    package var objectValue: JSONObject? { if case .object(let value) = self { value } else { nil } }

    /// Whether this is `null`.
    package var isNull: Bool { self == .null }

    /// An object's member of this name; nil where there is none or this is no object.
    package subscript(key: String) -> JSONValue? { objectValue?[key] }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral,
    ExpressibleByArrayLiteral, ExpressibleByNilLiteral, ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .integer(value) }
    package init(floatLiteral value: Double) { self = .real(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    package init(nilLiteral: ()) { self = .null }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        var object = JSONObject()
        for (key, value) in elements { object[key] = value }
        self = .object(object)
    }
}
