import Glibc

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
    package var json: [UInt8] { JSONWriter.text { write(to: &$0) } }

    /// Canonical JSON of the value, members that are null left out: both encodings of the same map give the same bytes.
    package var canonical: [UInt8] { JSONWriter.text { writeCanonical(to: &$0) } }

    /// Appends ``canonical`` to a writer.
    package func writeCanonical(to writer: inout JSONWriter) {
        switch kind {
        case .array:
            writer.beginArray(count)
            forEachElement { $0.writeCanonical(to: &writer) }
            writer.endArray()
        case .map:
            writer.beginMap(count)
            for place in sortedMembers() {
                Node(document: document, index: place).withUTF8 { writer.key(utf8: $0) }
                Node(document: document, index: place + 1).writeCanonical(to: &writer)
            }
            writer.endMap()
        default: write(to: &writer)
        }
    }

    /// Where the names of a map's members stand, in canonical order, without members that are null. Names are compared as bytes, which is
    /// the order of code points.
    private func sortedMembers() -> [Int] {
        var places: [Int] = []
        places.reserveCapacity(count)
        forEachMember { name, value in
            if !value.isNull { places.append(name.index) }
        }
        let slots = document.slots
        document.text.withUnsafeBytes { text in
            guard let start = text.baseAddress else { return }
            places.sort { left, right in
                let (left, right) = (slots[left], slots[right])
                let order = memcmp(start + Int(left.bits), start + Int(right.bits), Int(min(left.count, right.count)))
                return order == 0 ? left.count < right.count : order < 0
            }
        }
        return places
    }
}
