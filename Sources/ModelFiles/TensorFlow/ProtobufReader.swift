/// The fields of one Protocol Buffers message. Source: the encoding's documentation, wire types 0, 1, 2 and 5.
struct ProtobufReader {
    enum Value {
        case number(Int64)
        case fixed32(UInt32)
        case fixed64
        case bytes(ProtobufReader)
    }

    struct Field {
        let number: Int
        let value: Value
    }

    private let file: MappedFile
    private let range: Range<Int>
    var path: String { file.path }

    /// - Parameter range: where the message lies in the file.
    init(_ file: MappedFile, _ range: Range<Int>) {
        self.file = file
        self.range = range
    }

    func malformed(_ message: String) -> ModelFileError { ModelFileError(.malformed, path: path, message) }

    /// The fields in the message's order, unknown ones too.
    func fields() throws(ModelFileError) -> [Field] {
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[..<range.upperBound]), from: range.lowerBound, path: path)
        var fields: [Field] = []
        while !reader.isAtEnd {
            let tag = try reader.varint()
            let number = Int(clamping: tag >> 3)
            switch tag & 7 {
            case 0: fields.append(Field(number: number, value: .number(Int64(bitPattern: try reader.varint()))))
            case 1:
                _ = try reader.take(8)
                fields.append(Field(number: number, value: .fixed64))
            case 2: fields.append(Field(number: number, value: .bytes(ProtobufReader(file, try reader.take(try reader.size())))))
            case 5: fields.append(Field(number: number, value: .fixed32(try reader.integer())))
            default: throw malformed("has a message with a field of an unknown kind")
            }
        }
        return fields
    }
}
