/// The entries of a zip file whose contents are stored, not compressed, as torch.save writes them.
///
/// Source: PKWARE's APPNOTE.TXT 6.3.10: the central directory at the end says where everything is; sizes and offsets of
/// 2³² and more stand in the Zip64 extra field.
struct ZipArchive {
    struct Entry {
        let name: String
        /// Where its bytes lie in the file.
        let range: Range<Int>
    }

    let entries: [Entry]
    private static let maximumEntries = 1 << 20

    /// Whether a file begins as zip files do.
    static func isZip(_ file: MappedFile) -> Bool {
        file.bytes.count >= 4 && file.bytes[0] == 0x50 && file.bytes[1] == 0x4B && file.bytes[2] == 3 && file.bytes[3] == 4
    }

    init(_ file: MappedFile) throws(ModelFileError) {
        let directory = try ZipArchive.directory(file)
        var reader = ByteReader(file.bytes, from: directory.offset, path: file.path)
        var entries: [Entry] = []
        for _ in 0..<directory.count { entries.append(try ZipArchive.entry(&reader, file: file)) }
        self.entries = entries
    }

    /// Where the central directory begins and how many entries it has.
    private static func directory(_ file: MappedFile) throws(ModelFileError) -> (offset: Int, count: Int) {
        let bytes = file.bytes
        func malformed() -> ModelFileError { ModelFileError(.malformed, path: file.path, "has no zip directory at its end: truncated?") }
        guard bytes.count >= 22 else { throw malformed() }
        // The end record is followed by a comment of at most 65,535 bytes, which torch leaves empty.
        for end in stride(from: bytes.count - 22, through: max(0, bytes.count - 22 - 65_535), by: -1) {
            guard bytes[end] == 0x50, bytes[end + 1] == 0x4B, bytes[end + 2] == 5, bytes[end + 3] == 6 else { continue }
            var reader = ByteReader(bytes, from: end + 10, path: file.path)
            var count = Int(try reader.integer(UInt16.self))
            _ = try reader.integer(UInt32.self)
            var offset = Int(try reader.integer(UInt32.self))
            if count == 0xFFFF || offset == 0xFFFF_FFFF { (offset, count) = try zip64Directory(file, end: end) }
            guard offset <= bytes.count, count <= maximumEntries, count <= bytes.count / 46 else { throw malformed() }
            return (offset, count)
        }
        throw malformed()
    }

    private static func zip64Directory(_ file: MappedFile, end: Int) throws(ModelFileError) -> (offset: Int, count: Int) {
        var locator = ByteReader(file.bytes, from: max(0, end - 20), path: file.path)
        guard end >= 20, try locator.integer(UInt32.self) == 0x0706_4B50 else { throw locator.malformed("has no Zip64 locator where it needs one") }
        _ = try locator.integer(UInt32.self)
        let position = try locator.count()
        guard position <= file.bytes.count else { throw locator.malformed("has a Zip64 locator that points behind its end") }
        var record = ByteReader(file.bytes, from: position, path: file.path)
        guard try record.integer(UInt32.self) == 0x0606_4B50 else { throw record.malformed("has no Zip64 record where its locator points") }
        _ = try record.take(28)
        let count = try record.count()
        _ = try record.take(8)
        return (try record.count(), count)
    }

    private static func entry(_ reader: inout ByteReader, file: MappedFile) throws(ModelFileError) -> Entry {
        guard try reader.integer(UInt32.self) == 0x0201_4B50 else { throw reader.malformed("has a broken zip directory") }
        _ = try reader.take(4)
        let (flags, method) = (try reader.integer(UInt16.self), try reader.integer(UInt16.self))
        _ = try reader.take(8)
        var sizes = [Int(try reader.integer(UInt32.self)), Int(try reader.integer(UInt32.self))]
        let (nameLength, extraLength) = (Int(try reader.integer(UInt16.self)), Int(try reader.integer(UInt16.self)))
        let commentLength = Int(try reader.integer(UInt16.self))
        _ = try reader.take(8)
        sizes.append(Int(try reader.integer(UInt32.self)))
        let name = try reader.text(nameLength)
        let extra = try reader.take(extraLength)
        _ = try reader.take(commentLength)
        guard flags & 1 == 0, method == 0 else {
            throw ModelFileError(.unsupported, path: file.path, "its entry \(name) is compressed or encrypted, which torch.save never does")
        }
        // Uncompressed size, compressed size, offset: those that did not fit stand in the extra field, in this order.
        var order = [sizes[1], sizes[0], sizes[2]]
        try widen(&order, extra: extra, file: file)
        return Entry(name: name, range: try content(offset: order[2], size: order[0], name: name, file: file))
    }

    private static func widen(_ values: inout [Int], extra: Range<Int>, file: MappedFile) throws(ModelFileError) {
        guard values.contains(0xFFFF_FFFF) else { return }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: file.bytes[..<extra.upperBound]), from: extra.lowerBound, path: file.path)
        while !reader.isAtEnd {
            let (kind, length) = (try reader.integer(UInt16.self), Int(try reader.integer(UInt16.self)))
            guard kind == 1 else {
                _ = try reader.take(length)
                continue
            }
            for index in values.indices where values[index] == 0xFFFF_FFFF { values[index] = try reader.count() }
            return
        }
        throw reader.malformed("lacks the Zip64 sizes of an entry")
    }

    /// The bytes behind the entry's own header.
    private static func content(offset: Int, size: Int, name: String, file: MappedFile) throws(ModelFileError) -> Range<Int> {
        guard offset <= file.bytes.count else { throw ModelFileError(.malformed, path: file.path, "its entry \(name) lies behind its end") }
        var header = ByteReader(file.bytes, from: offset, path: file.path)
        guard try header.integer(UInt32.self) == 0x0403_4B50 else { throw header.malformed("has no entry \(name) where its directory says") }
        _ = try header.take(22)
        let (nameLength, extraLength) = (Int(try header.integer(UInt16.self)), Int(try header.integer(UInt16.self)))
        _ = try header.take(nameLength + extraLength)
        return try header.take(size)
    }
}
