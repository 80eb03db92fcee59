extension Node {
    /// Writes the value as it is, in the order of its text. Binary values, which JSON lacks, become null.
    package func write(to writer: inout some PayloadWriter) {
        switch kind {
        case .null, .binary: writer.null()
        case .bool: writer.bool(boolValue ?? false)
        case .integer: writer.int(integerValue ?? 0)
        case .real: writer.double(doubleValue ?? 0)
        case .string: withUTF8 { writer.string(utf8: $0) }
        case .array:
            writer.beginArray(count)
            forEachElement { $0.write(to: &writer) }
            writer.endArray()
        case .map:
            writer.beginMap(count)
            forEachMember { name, value in
                name.withUTF8 { writer.key(String(decoding: $0, as: UTF8.self)) }
                value.write(to: &writer)
            }
            writer.endMap()
        }
    }

    /// JSON text without spaces, in the order of the source.
    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    /// Canonical JSON of the value, members that are null left out: both encodings of the same map give the same bytes.
    package var canonical: [UInt8] {
        var writer = JSONWriter()
        writeCanonical(to: &writer)
        return writer.bytes
    }

    /// Appends ``canonical`` to a writer.
    package func writeCanonical(to writer: inout JSONWriter) {
        switch kind {
        case .array:
            writer.beginArray(count)
            forEachElement { $0.writeCanonical(to: &writer) }
            writer.endArray()
        case .map:
            writer.beginMap(count)
            for (name, value) in sortedMembers() {
                writer.key(name)
                value.writeCanonical(to: &writer)
            }
            writer.endMap()
        default: write(to: &writer)
        }
    }

    private func sortedMembers() -> [(name: String, value: Node)] {
        var members: [(name: String, value: Node)] = []
        members.reserveCapacity(count)
        forEachMember { name, value in
            if !value.isNull { members.append((name.stringValue ?? "", value)) }
        }
        members.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
        return members
    }
}
