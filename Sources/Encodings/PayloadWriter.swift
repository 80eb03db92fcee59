/// One way to write a reply in either encoding: the caller says what, the writer how.
///
/// Counts are told ahead because MessagePack needs them; the JSON writer ignores them. A map is `beginMap`, then `key` and a value for each
/// member, then `endMap`.
package protocol PayloadWriter {
    init()
    /// What was written so far.
    var bytes: [UInt8] { get }
    mutating func beginMap(_ count: Int)
    mutating func endMap()
    mutating func beginArray(_ count: Int)
    mutating func endArray()
    mutating func key(_ name: String)
    mutating func string(_ value: String)
    /// A string whose bytes are known to be UTF-8.
    mutating func string(utf8 value: UnsafeRawBufferPointer)
    mutating func int(_ value: Int64)
    /// A finite real. (One that is not becomes null: neither encoding of the contract has a word for it.)
    mutating func double(_ value: Double)
    mutating func bool(_ value: Bool)
    /// Bytes that are no text. JSON has no word for them and says null: what answers with bytes is asked in MessagePack.
    mutating func binary(_ value: [UInt8])
    mutating func null()
    /// A value that exists as JSON text: copied as it is into JSON, transcoded into MessagePack.
    mutating func raw(json: [UInt8])
}

extension PayloadWriter {
    /// A member with a string, or null.
    package mutating func member(_ name: String, _ value: String?) {
        key(name)
        if let value { string(value) } else { null() }
    }

    /// A member with an integer, or null.
    package mutating func member(_ name: String, _ value: Int?) {
        key(name)
        if let value { int(Int64(value)) } else { null() }
    }

    /// A member with a 64-bit integer, or null.
    package mutating func member(_ name: String, _ value: Int64?) {
        key(name)
        if let value { int(value) } else { null() }
    }

    /// A member with a real, or null.
    package mutating func member(_ name: String, _ value: Double?) {
        key(name)
        if let value { double(value) } else { null() }
    }

    /// A member with a truth value, or null.
    package mutating func member(_ name: String, _ value: Bool?) {
        key(name)
        if let value { bool(value) } else { null() }
    }

    /// A member with a value that exists as JSON text, or null.
    package mutating func member(_ name: String, json value: [UInt8]?) {
        key(name)
        if let value { raw(json: value) } else { null() }
    }

    /// A member with a list of strings.
    package mutating func member(_ name: String, _ values: [String]) {
        key(name)
        beginArray(values.count)
        for value in values { string(value) }
        endArray()
    }

    /// A member with a list of token ids.
    package mutating func member(_ name: String, _ values: [Int32]) {
        key(name)
        beginArray(values.count)
        for value in values { int(Int64(value)) }
        endArray()
    }
}
