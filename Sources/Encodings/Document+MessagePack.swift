import CMsgPack
import Glibc

extension Document {
    /// Parses one MessagePack value that fills the bytes.
    ///
    /// Depth is bounded by msgpack-c itself at 32 containers. Extensions, names that are not strings and strings that are not UTF-8 are
    /// refused; an unsigned integer beyond 63 bits is read as a real, as such a one in JSON.
    package static func parse(messagePack bytes: UnsafeRawBufferPointer, maximumDepth: Int = 32, allowNUL: Bool = false) throws(DocumentError)
        -> Document
    {
        try MessagePackShape.check(bytes, maximumDepth: maximumDepth)
        var unpacked = msgpack_unpacked()
        msgpack_unpacked_init(&unpacked)
        defer { msgpack_unpacked_destroy(&unpacked) }
        var consumed = 0
        let outcome = msgpack_unpack_next(&unpacked, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count, &consumed)
        switch outcome {
        case MSGPACK_UNPACK_SUCCESS: break
        case MSGPACK_UNPACK_NOMEM_ERROR: throw DocumentError(.tooDeep, "containers stand within each other more than \(maximumDepth) deep")
        case MSGPACK_UNPACK_CONTINUE: throw DocumentError(.malformed, "the MessagePack value ends too early")
        default: throw DocumentError(.malformed, "not MessagePack")
        }
        guard consumed == bytes.count else { throw DocumentError(.malformed, "something follows the MessagePack value") }
        var builder = DocumentBuilder(maximumDepth: maximumDepth, sizeHint: bytes.count)
        try builder.append(unpacked.data, depth: 0, allowNUL: allowNUL)
        return Document(builder: builder, encoding: .messagePack)
    }

    /// ``parse(messagePack:maximumDepth:allowNUL:)-(UnsafeRawBufferPointer,_,_)`` of an array.
    package static func parse(messagePack bytes: [UInt8], maximumDepth: Int = 32, allowNUL: Bool = false) throws(DocumentError) -> Document {
        try withBytes(bytes) { buffer throws(DocumentError) in try parse(messagePack: buffer, maximumDepth: maximumDepth, allowNUL: allowNUL) }
    }
}

extension DocumentBuilder {
    fileprivate mutating func append(_ object: msgpack_object, depth: Int, allowNUL: Bool) throws(DocumentError) {
        switch object.type {
        case MSGPACK_OBJECT_NIL: scalar(.null)
        case MSGPACK_OBJECT_BOOLEAN: scalar(.bool, bits: object.via.boolean ? 1 : 0)
        case MSGPACK_OBJECT_POSITIVE_INTEGER:
            if object.via.u64 <= UInt64(Int64.max) { scalar(.integer, bits: object.via.u64) } else { try real(Double(object.via.u64)) }
        case MSGPACK_OBJECT_NEGATIVE_INTEGER: scalar(.integer, bits: UInt64(bitPattern: object.via.i64))
        case MSGPACK_OBJECT_FLOAT32, MSGPACK_OBJECT_FLOAT64: try real(object.via.f64)
        case MSGPACK_OBJECT_STR: try appendText(object, allowNUL: allowNUL)
        case MSGPACK_OBJECT_BIN: string(UnsafeRawBufferPointer(start: object.via.bin.ptr, count: Int(object.via.bin.size)), kind: .binary)
        case MSGPACK_OBJECT_ARRAY:
            let list = object.via.array
            let place = try open(.array, count: Int(list.size), depth: depth)
            for index in 0..<Int(list.size) { try append(list.ptr[index], depth: depth + 1, allowNUL: allowNUL) }
            close(place)
        case MSGPACK_OBJECT_MAP: try appendMap(object.via.map, depth: depth, allowNUL: allowNUL)
        default: throw DocumentError(.unsupportedType, "a MessagePack extension type has no meaning here")
        }
    }

    private mutating func appendMap(_ map: msgpack_object_map, depth: Int, allowNUL: Bool) throws(DocumentError) {
        let place = try open(.map, count: Int(map.size), depth: depth)
        var names = Set<String>()
        for index in 0..<Int(map.size) {
            let member = map.ptr[index]
            guard member.key.type == MSGPACK_OBJECT_STR else { throw DocumentError(.unsupportedType, "a map's name is not a string") }
            try appendText(member.key, allowNUL: false)
            let name = UnsafeRawBufferPointer(start: member.key.via.str.ptr, count: Int(member.key.via.str.size))
            // A few names are compared with one another sooner than hashed.
            let isNew =
                map.size <= 16
                ? !(0..<index).contains { Self.isName(map.ptr[$0].key, name) } : names.insert(String(decoding: name, as: UTF8.self)).inserted
            guard isNew else { throw DocumentError(.duplicateName, "a name stands twice in one map") }
            try append(member.val, depth: depth + 1, allowNUL: allowNUL)
        }
        close(place)
    }

    private static func isName(_ key: msgpack_object, _ name: UnsafeRawBufferPointer) -> Bool {
        guard key.via.str.size == name.count, let left = key.via.str.ptr, let right = name.baseAddress else { return key.via.str.size == name.count }
        return memcmp(left, right, name.count) == 0
    }

    private mutating func appendText(_ object: msgpack_object, allowNUL: Bool) throws(DocumentError) {
        let bytes = UnsafeRawBufferPointer(start: object.via.str.ptr, count: Int(object.via.str.size))
        var hasHighByte = false
        for byte in bytes {
            if byte == 0 && !allowNUL { throw DocumentError(.containsNUL, "a string holds U+0000") }
            hasHighByte = hasHighByte || byte >= 0x80
        }
        if hasHighByte && !isUTF8(bytes) { throw DocumentError(.malformed, "a string is not UTF-8") }
        string(bytes)
    }
}

/// Whether bytes are well-formed UTF-8 (no lone surrogates, nothing overlong).
private func isUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var decoder = UTF8()
    var source = bytes.makeIterator()
    while true {
        switch decoder.decode(&source) {
        case .scalarValue: continue
        case .emptyInput: return true
        case .error: return false
        }
    }
}
