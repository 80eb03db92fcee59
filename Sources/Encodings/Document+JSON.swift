import CJansson

extension Document {
    /// Parses strict JSON text (RFC 8259), a byte order mark and white space around it allowed.
    /// - Parameters:
    ///   - json: the text, UTF-8.
    ///   - maximumDepth: how many containers may stand within each other; below 2,048.
    ///   - allowNUL: whether strings (never names) may hold U+0000.
    package static func parse(json: UnsafeRawBufferPointer, maximumDepth: Int = 32, allowNUL: Bool = false) throws(DocumentError) -> Document {
        let hasMark = json.count >= 3 && json[0] == 0xEF && json[1] == 0xBB && json[2] == 0xBF
        let text = UnsafeRawBufferPointer(rebasing: json[(hasMark ? 3 : 0)...])
        let tree = try loadTree(text, allowNUL: allowNUL)
        defer { json_decref(tree.value) }
        var builder = DocumentBuilder(maximumDepth: maximumDepth, sizeHint: json.count)
        try builder.append(tree.value, depth: 0, integersAreReals: tree.integersAreReals)
        return Document(builder: builder, encoding: .json)
    }

    /// ``parse(json:maximumDepth:allowNUL:)-(UnsafeRawBufferPointer,_,_)`` of an array.
    package static func parse(json: [UInt8], maximumDepth: Int = 32, allowNUL: Bool = false) throws(DocumentError) -> Document {
        try withBytes(json) { buffer throws(DocumentError) in try parse(json: buffer, maximumDepth: maximumDepth, allowNUL: allowNUL) }
    }
}

private struct Tree {
    let value: UnsafeMutablePointer<json_t>
    let integersAreReals: Bool
}

/// jansson's tree. An integer beyond 64 bits is no fault of the text (tokenizer_config.json files hold 10^30): then all numbers are read as
/// reals, and those without fraction that a double holds exactly become integers again.
private func loadTree(_ text: UnsafeRawBufferPointer, allowNUL: Bool) throws(DocumentError) -> Tree {
    guard let start = text.baseAddress?.assumingMemoryBound(to: CChar.self), !text.isEmpty else {
        throw DocumentError(.malformed, "the text is empty")
    }
    let flags = Int(JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | (allowNUL ? JSON_ALLOW_NUL : 0))
    var fault = json_error_t()
    if let value = json_loadb(start, text.count, flags, &fault) { return Tree(value: value, integersAreReals: false) }
    if json_error_code(&fault) == json_error_numeric_overflow {
        if let value = json_loadb(start, text.count, flags | Int(JSON_DECODE_INT_AS_REAL), &fault) {
            return Tree(value: value, integersAreReals: true)
        }
    }
    throw DocumentError(jansson: &fault)
}

extension DocumentError {
    fileprivate init(jansson fault: inout json_error_t) {
        let place = "at line \(fault.line), column \(fault.column)"
        switch json_error_code(&fault) {
        case json_error_duplicate_key: self.init(.duplicateName, "a name stands twice in one map, \(place)")
        case json_error_numeric_overflow: self.init(.notFinite, "a number is out of range, \(place)")
        case json_error_null_character, json_error_null_byte_in_key: self.init(.containsNUL, "a string holds U+0000, \(place)")
        case json_error_stack_overflow: self.init(.tooDeep, "containers stand too deep within each other, \(place)")
        case json_error_invalid_utf8: self.init(.malformed, "the text is not UTF-8, \(place)")
        case json_error_premature_end_of_input: self.init(.malformed, "the JSON text ends too early, \(place)")
        case json_error_end_of_input_expected: self.init(.malformed, "something follows the JSON value, \(place)")
        default: self.init(.malformed, "not JSON, \(place)")
        }
    }
}

extension DocumentBuilder {
    fileprivate mutating func append(_ value: UnsafeMutablePointer<json_t>, depth: Int, integersAreReals: Bool) throws(DocumentError) {
        switch value.pointee.type {
        case JSON_OBJECT: try appendObject(value, depth: depth, integersAreReals: integersAreReals)
        case JSON_ARRAY:
            let count = json_array_size(value)
            let place = try open(.array, count: count, depth: depth)
            for index in 0..<count {
                guard let element = json_array_get(value, index) else { continue }
                try append(element, depth: depth + 1, integersAreReals: integersAreReals)
            }
            close(place)
        case JSON_STRING: string(UnsafeRawBufferPointer(start: json_string_value(value), count: json_string_length(value)))
        case JSON_INTEGER: scalar(.integer, bits: UInt64(bitPattern: Int64(json_integer_value(value))))
        case JSON_REAL:
            let number = json_real_value(value)
            if integersAreReals, number.magnitude <= 0x1p53, let integer = Int64(exactly: number) {
                scalar(.integer, bits: UInt64(bitPattern: integer))
            } else {
                try real(number)
            }
        case JSON_TRUE: scalar(.bool, bits: 1)
        case JSON_FALSE: scalar(.bool)
        default: scalar(.null)
        }
    }

    private mutating func appendObject(_ value: UnsafeMutablePointer<json_t>, depth: Int, integersAreReals: Bool) throws(DocumentError) {
        let place = try open(.map, count: json_object_size(value), depth: depth)
        var member = json_object_iter(value)
        while let current = member {
            string(UnsafeRawBufferPointer(start: json_object_iter_key(current), count: json_object_iter_key_len(current)))
            if let content = json_object_iter_value(current) { try append(content, depth: depth + 1, integersAreReals: integersAreReals) }
            member = json_object_iter_next(value, current)
        }
        close(place)
    }
}
