package import Encodings

/// Why bytes are no message of the workers' protocol. A peer that sends such is counted and not answered.
package enum WorkerProtocolError: Error, Sendable, Equatable, CustomStringConvertible {
    /// Not MessagePack, or not a document that the product allows.
    case document(DocumentError)
    /// Not a map, or one without `m`.
    case notAMessage
    /// `m` names nothing known.
    case unknownMessage(String)
    /// A field is missing, of a wrong type, or out of range.
    case badField(message: String, field: String)

    package var description: String {
        switch self {
        case .document(let error): "a message of the workers' protocol cannot be read: \(error)"
        case .notAMessage: "a message of the workers' protocol is not a map that names itself in `m`"
        case .unknownMessage(let name): "`\(name.prefix(40))` is no message of the workers' protocol"
        case .badField(let message, let field): "the message `\(message)` has no usable `\(field)`"
        }
    }
}

/// Reads the fields of one map, each missing or wrong one an error that names it.
struct FieldReader {
    let message: String
    let node: Node

    func error(_ field: String) -> WorkerProtocolError { .badField(message: message, field: field) }

    private func need<Value>(_ value: Value?, _ field: String) throws(WorkerProtocolError) -> Value {
        guard let value else { throw error(field) }
        return value
    }

    func string(_ field: String) throws(WorkerProtocolError) -> String { try need(node[field]?.stringValue, field) }
    func bool(_ field: String) throws(WorkerProtocolError) -> Bool { try need(node[field]?.boolValue, field) }
    func bytes(_ field: String) throws(WorkerProtocolError) -> [UInt8] { try need(node[field]?.binaryValue, field) }
    func double(_ field: String) throws(WorkerProtocolError) -> Double { try need(node[field]?.doubleValue, field) }
    func int64(_ field: String) throws(WorkerProtocolError) -> Int64 { try need(node[field]?.integerValue, field) }

    /// An integer from 0 to 2^53.
    func count(_ field: String) throws(WorkerProtocolError) -> Int {
        let value = try int64(field)
        guard (0...(1 << 53)).contains(value) else { throw error(field) }
        return Int(value)
    }

    /// Any integer of 54 bits.
    func int(_ field: String) throws(WorkerProtocolError) -> Int {
        let value = try int64(field)
        guard value.magnitude <= 1 << 53 else { throw error(field) }
        return Int(value)
    }

    func id(_ field: String) throws(WorkerProtocolError) -> UUIDValue { try need(node[field]?.idValue, field) }

    /// What is absent or nil has no value; what is there must be right.
    func optional<Value>(_ field: String, _ read: (FieldReader, String) throws(WorkerProtocolError) -> Value) throws(WorkerProtocolError) -> Value? {
        node[field] == nil ? nil : try read(self, field)
    }

    func choice<Choice: RawRepresentable<String>>(_ field: String, _: Choice.Type) throws(WorkerProtocolError) -> Choice {
        try need(Choice(rawValue: try string(field)), field)
    }

    func strings(_ field: String) throws(WorkerProtocolError) -> [String] {
        try list(field) { node throws(WorkerProtocolError) in
            guard let value = node.stringValue else { throw self.error(field) }
            return value
        }
    }

    func tokens(_ field: String) throws(WorkerProtocolError) -> [Int32] {
        try list(field) { node throws(WorkerProtocolError) in
            guard let value = node.integerValue.flatMap(Int32.init(exactly:)) else { throw self.error(field) }
            return value
        }
    }

    /// An array whose elements are read one by one.
    func list<Element>(_ field: String, _ read: (Node) throws(WorkerProtocolError) -> Element) throws(WorkerProtocolError) -> [Element] {
        guard let array = node[field], array.kind == .array else { throw error(field) }
        var elements: [Element] = []
        elements.reserveCapacity(min(array.count, 4096))
        try array.forEachElement { element throws(WorkerProtocolError) in elements.append(try read(element)) }
        return elements
    }

    /// An array of maps.
    func maps<Element>(_ field: String, _ read: (FieldReader) throws(WorkerProtocolError) -> Element) throws(WorkerProtocolError) -> [Element] {
        try list(field) { node throws(WorkerProtocolError) in
            guard node.kind == .map else { throw self.error(field) }
            return try read(FieldReader(message: "\(self.message).\(field)", node: node))
        }
    }

    /// The three fields by which a message names its lease.
    func lease() throws(WorkerProtocolError) -> WorkerLease {
        WorkerLease(task: try id("task"), lease: try id("lease"), attempt: try count("attempt"))
    }
}

extension Node {
    /// An id: 16 bytes.
    var idValue: UUIDValue? {
        guard kind == .binary, count == 16 else { return nil }
        return withUTF8 { bytes in
            let hi = bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
            let lo = bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
            return UUIDValue(hi: UInt64(bigEndian: hi), lo: UInt64(bigEndian: lo))
        }
    }
}
