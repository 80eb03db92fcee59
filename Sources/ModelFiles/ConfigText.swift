import Encodings

/// The text of a config file as transformers writes it: two spaces an indent, and a real number stays one (`0.0`, where
/// canonical JSON would print `0`), because its config classes check types.
enum ConfigText {
    static func bytes(_ object: JSONObject) -> [UInt8] {
        var text: [UInt8] = []
        append(.object(object), to: &text, indent: 0)
        text.append(UInt8(ascii: "\n"))
        return text
    }

    private static func append(_ value: JSONValue, to text: inout [UInt8], indent: Int) {
        switch value {
        case .real(let number) where number.isFinite: text += Array(number.description.utf8)
        case .array(let elements) where !elements.isEmpty:
            appendList(elements, open: "[", close: "]", to: &text, indent: indent) { append($0, to: &$1, indent: indent + 1) }
        case .object(let members) where !members.isEmpty:
            appendList(members.map { $0 }, open: "{", close: "}", to: &text, indent: indent) { member, text in
                text += JSONValue.string(member.key).serialised + Array(": ".utf8)
                append(member.value, to: &text, indent: indent + 1)
            }
        default: text += value.serialised
        }
    }

    private static func appendList<Element>(
        _ elements: [Element], open: String, close: String, to text: inout [UInt8], indent: Int, _ write: (Element, inout [UInt8]) -> Void
    ) {
        text += Array(open.utf8)
        for (index, element) in elements.enumerated() {
            text += Array((index == 0 ? "\n" : ",\n").utf8) + [UInt8](repeating: 32, count: 2 * (indent + 1))
            write(element, &text)
        }
        text += [10] + [UInt8](repeating: 32, count: 2 * indent) + Array(close.utf8)
    }
}
