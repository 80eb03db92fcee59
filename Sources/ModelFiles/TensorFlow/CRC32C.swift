/// The Castagnoli checksum, as LevelDB tables and TensorFlow bundles carry it.
///
/// Source: RFC 3720, appendix B.4; the mask is LevelDB's, so that a checksum of data that holds checksums stays telling.
enum CRC32C {
    /// Eight tables of 256: a byte's remainder at each of eight places.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0x82F6_3B78 : value >> 1 }
            tables[byte] = value
        }
        for place in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(place - 1) * 256 + byte]
                tables[place * 256 + byte] = before >> 8 ^ tables[Int(before & 0xFF)]
            }
        }
        return tables
    }()

    /// The checksum of some bytes.
    static func checksum(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        tables.withUnsafeBufferPointer { table in
            var crc = UInt32.max
            var position = 0
            while position + 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self)) ^ UInt64(crc)
                crc = 0
                for place in 0..<8 { crc ^= table[(7 - place) * 256 + Int(word >> UInt64(8 * place) & 0xFF)] }
                position += 8
            }
            while position < bytes.count {
                crc = crc >> 8 ^ table[Int((crc ^ UInt32(bytes[position])) & 0xFF)]
                position += 1
            }
            return ~crc
        }
    }

    /// The checksum in the form in which files store it.
    static func masked(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        let crc = checksum(bytes)
        return (crc >> 15 | crc << 17) &+ 0xA282_EAD8
    }
}
