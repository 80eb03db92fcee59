/// A table of keys and values as LevelDB writes it and TensorFlow's checkpoint index is one: blocks of entries whose keys
/// share beginnings, each block with a checksum, an index block, a footer.
///
/// Source: LevelDB's table_format.md. Blocks must be uncompressed, as TensorFlow leaves them.
enum SortedTable {
    private static let magicNumber: UInt64 = 0xDB47_7524_8B80_FB57
    private static let footerBytes = 48

    /// All entries in the table's order.
    static func entries(_ file: MappedFile) throws(ModelFileError) -> [(key: [UInt8], value: Range<Int>)] {
        let bytes = file.bytes
        guard bytes.count >= footerBytes,
            UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)) == magicNumber
        else { throw ModelFileError(.malformed, path: file.path, "does not end as a TensorFlow checkpoint index does: truncated?") }
        var footer = ByteReader(bytes, from: bytes.count - footerBytes, path: file.path)
        _ = try handle(&footer)
        let index = try block(try handle(&footer), file: file)
        var entries: [(key: [UInt8], value: Range<Int>)] = []
        for entry in try members(index, file: file) {
            var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[..<entry.value.upperBound]), from: entry.value.lowerBound, path: file.path)
            entries += try members(try block(try handle(&reader), file: file), file: file)
            // A forged index may name one block many times: no honest table has more entries than bytes.
            guard entries.count <= bytes.count else { throw reader.malformed("names its blocks more than once") }
        }
        return entries
    }

    private static func handle(_ reader: inout ByteReader) throws(ModelFileError) -> (offset: Int, size: Int) {
        (try reader.size(), try reader.size())
    }

    /// A block's bytes without its trailer (type and checksum), which is checked.
    private static func block(_ handle: (offset: Int, size: Int), file: MappedFile) throws(ModelFileError) -> Range<Int> {
        guard handle.offset <= file.bytes.count, handle.size <= file.bytes.count - handle.offset, file.bytes.count - handle.offset - handle.size >= 5
        else { throw ModelFileError(.malformed, path: file.path, "has a block behind its end: truncated?") }
        let end = handle.offset + handle.size
        let stored = UInt32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: end + 1, as: UInt32.self))
        guard CRC32C.masked(UnsafeRawBufferPointer(rebasing: file.bytes[handle.offset...end])) == stored else {
            throw ModelFileError(.malformed, path: file.path, "has a block whose checksum is wrong: damaged?")
        }
        guard file.bytes[end] == 0 else {
            throw ModelFileError(.unsupported, path: file.path, "has compressed blocks, which TensorFlow never writes here")
        }
        return handle.offset..<end
    }

    /// The entries of a block: shared and own length of the key, length of the value, the key's own part, the value.
    private static func members(_ block: Range<Int>, file: MappedFile) throws(ModelFileError) -> [(key: [UInt8], value: Range<Int>)] {
        let count = block.count >= 4 ? UInt32(littleEndian: file.bytes.loadUnaligned(fromByteOffset: block.upperBound - 4, as: UInt32.self)) : .max
        guard Int(count) <= (block.count - 4) / 4 else {
            throw ModelFileError(.malformed, path: file.path, "has a block without its list of restarts")
        }
        let end = block.upperBound - 4 - 4 * Int(count)
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[..<end]), from: block.lowerBound, path: file.path)
        var entries: [(key: [UInt8], value: Range<Int>)] = []
        var key: [UInt8] = []
        while !reader.isAtEnd {
            let (shared, own, length) = (try reader.size(), try reader.size(), try reader.size())
            guard shared <= key.count else { throw reader.malformed("has a key that shares more than there is") }
            key.removeSubrange(shared...)
            key += reader.bytes[try reader.take(own)]
            guard key.count <= 4096 else { throw reader.malformed("has a key of more than 4096 bytes") }
            entries.append((key, try reader.take(length)))
        }
        return entries
    }
}
