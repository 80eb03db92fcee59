/// Walks over MessagePack headers before msgpack-c sees the bytes: that one allocates what a header announces, so a message of six bytes
/// could ask for gigabytes. Here every announced element must have a byte, and no container may stand too deep.
struct MessagePackShape {
    private let bytes: UnsafeRawBufferPointer
    private let maximumDepth: Int
    private var place = 0

    /// - Throws: `malformed` for announced elements that the bytes cannot hold, `tooDeep` for nesting.
    static func check(_ bytes: UnsafeRawBufferPointer, maximumDepth: Int) throws(DocumentError) {
        var shape = MessagePackShape(bytes: bytes, maximumDepth: maximumDepth)
        try shape.walk()
    }

    private init(bytes: UnsafeRawBufferPointer, maximumDepth: Int) {
        self.bytes = bytes
        self.maximumDepth = maximumDepth
    }

    /// Values left to read in each container that is open.
    private mutating func walk() throws(DocumentError) {
        var open: [Int] = []
        open.reserveCapacity(maximumDepth)
        var left = 1
        while true {
            while left == 0 {
                guard let outer = open.popLast() else { return }
                left = outer
            }
            left -= 1
            let children = try value()
            guard children >= 0 else { continue }
            guard open.count < maximumDepth else {
                throw DocumentError(.tooDeep, "containers stand within each other more than \(maximumDepth) deep")
            }
            guard children <= bytes.count - place else { throw ended }
            open.append(left)
            left = children
        }
    }

    private var ended: DocumentError { DocumentError(.malformed, "the MessagePack value ends too early") }

    /// Steps over one value, or a container's header.
    /// - Returns: a container's values (a map's names among them), or -1 for any other value.
    private mutating func value() throws(DocumentError) -> Int {
        let header = Int(try number(bytes: 1))
        switch header {
        case 0x80...0x8F: return 2 * (header & 15)
        case 0x90...0x9F: return header & 15
        case 0xA0...0xBF: try skip(header & 31)
        case 0xC4, 0xD9: try skip(Int(try number(bytes: 1)))
        case 0xC5, 0xDA: try skip(Int(try number(bytes: 2)))
        case 0xC6, 0xDB: try skip(Int(try number(bytes: 4)))
        case 0xC7...0xC9: try skip(Int(try number(bytes: 1 << (header - 0xC7))) + 1)
        case 0xCA, 0xCE, 0xD2: try skip(4)
        case 0xCB, 0xCF, 0xD3: try skip(8)
        case 0xCC, 0xD0: try skip(1)
        case 0xCD, 0xD1: try skip(2)
        case 0xD4...0xD8: try skip(1 + 1 << (header - 0xD4))
        case 0xDC: return Int(try number(bytes: 2))
        case 0xDD: return Int(try number(bytes: 4))
        case 0xDE: return 2 * Int(try number(bytes: 2))
        case 0xDF: return 2 * Int(try number(bytes: 4))
        default: break
        }
        return -1
    }

    private mutating func skip(_ count: Int) throws(DocumentError) {
        guard count <= bytes.count - place else { throw ended }
        place += count
    }

    private mutating func number(bytes count: Int) throws(DocumentError) -> UInt64 {
        guard count <= bytes.count - place else { throw ended }
        var value: UInt64 = 0
        for byte in bytes[place..<place + count] { value = value << 8 | UInt64(byte) }
        place += count
        return value
    }
}
