extension JSONValue {
    /// JSON text in the object's own order, without spaces.
    package var serialised: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// Canonical JSON (reproducibility.md 14): names by code point, no spaces, reals as ECMAScript prints them. What digests are taken of.
    ///
    /// Differs from RFC 8785 in one point: that one sorts by UTF-16 units, so names beyond U+FFFF may stand elsewhere there.
    package var canonical: [UInt8] { JSONWriter.text { writeCanonical(to: &$0) } }

    /// JSON text for people: two spaces an indent, one member a line, a newline at the end.
    package var prettyPrinted: [UInt8] {
        var writer = JSONWriter()
        writePretty(to: &writer, indent: 0)
        writer.appendRaw("\n")
        return writer.bytes
    }

    /// Writes the value in the object's own order.
    package func write(to writer: inout some PayloadWriter) {
        switch self {
        case .array(let items):
            writer.beginArray(items.count)
            for item in items { item.write(to: &writer) }
            writer.endArray()
        case .object(let object):
            writer.beginMap(object.count)
            for (key, value) in object {
                writer.key(key)
                value.write(to: &writer)
            }
            writer.endMap()
        default: writeScalar(to: &writer)
        }
    }

    private func writeScalar(to writer: inout some PayloadWriter) {
        switch self {
        case .null, .array, .object: writer.null()
        case .bool(let value): writer.bool(value)
        case .integer(let value): writer.int(value)
        case .real(let value): writer.double(value)
        case .string(let value): writer.string(value)
        }
    }

    private func writeCanonical(to writer: inout JSONWriter) {
        switch self {
        case .array(let items):
            writer.beginArray(items.count)
            for item in items { item.writeCanonical(to: &writer) }
            writer.endArray()
        case .object(let object):
            writer.beginMap(object.count)
            for (key, value) in object.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                writer.key(key)
                value.writeCanonical(to: &writer)
            }
            writer.endMap()
        default: writeScalar(to: &writer)
        }
    }

    private func writePretty(to writer: inout JSONWriter, indent: Int) {
        func newline(_ depth: Int) { writer.appendRaw("\n" + String(repeating: "  ", count: depth)) }
        switch self {
        case .array(let items) where !items.isEmpty:
            writer.beginArray(items.count)
            for (place, item) in items.enumerated() {
                writer.appendRaw(place == 0 ? "" : ",")
                newline(indent + 1)
                writer.startFresh()
                item.writePretty(to: &writer, indent: indent + 1)
            }
            newline(indent)
            writer.endArray()
        case .object(let object) where !object.isEmpty:
            writer.beginMap(object.count)
            for (place, member) in object.enumerated() {
                writer.appendRaw(place == 0 ? "" : ",")
                newline(indent + 1)
                writer.startFresh()
                writer.key(member.key)
                writer.appendRaw(" ")
                member.value.writePretty(to: &writer, indent: indent + 1)
            }
            newline(indent)
            writer.endMap()
        default: write(to: &writer)
        }
    }
}
