import DurableFiles
import Glibc

/// A file mapped read-only into memory for as long as the object lives.
///
/// `@unchecked Sendable`: the mapping is private, never written and unmapped only in `deinit`, so any thread may read it.
final class MappedFile: @unchecked Sendable {
    let path: String
    let bytes: UnsafeRawBufferPointer

    /// - Throws: `ModelFileError.missing` or `.unreadable` naming the path; a folder is `.unreadable`.
    init(path: String) throws(ModelFileError) {
        self.path = path
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw MappedFile.systemError(path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw MappedFile.systemError(path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw ModelFileError(.unreadable, path: path, "is no regular file") }
        let size = Int(status.st_size)
        guard size > 0 else {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let address = mmap(nil, size, PROT_READ, MAP_PRIVATE, descriptor, 0), address != MAP_FAILED else { throw MappedFile.systemError(path) }
        bytes = UnsafeRawBufferPointer(start: address, count: size)
    }

    deinit {
        guard let base = bytes.baseAddress else { return }
        munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
    }

    /// Lets the kernel take back the pages that lie wholly in `range`; reading them again fetches them from the file.
    func release(_ range: Range<Int>) {
        guard let base = bytes.baseAddress else { return }
        let page = 4096
        let first = (range.lowerBound + page - 1) / page * page
        let last = range.upperBound / page * page
        guard last > first else { return }
        madvise(UnsafeMutableRawPointer(mutating: base + first), last - first, MADV_DONTNEED)
    }

    static func systemError(_ path: String) -> ModelFileError { ModelFileError(FileError(path: path, errno: errno)) }
}

/// Reads a whole small file.
/// - Parameter limit: the most bytes to accept, so that a device or a mistaken path cannot fill the memory.
func readSmallFile(_ path: String, limit: Int) throws(ModelFileError) -> [UInt8] {
    let file = try MappedFile(path: path)
    guard file.bytes.count <= limit else {
        throw ModelFileError(.malformed, path: path, "is \(file.bytes.count) bytes long; at most \(limit) are read")
    }
    return [UInt8](file.bytes)
}

/// Whether anything lies at `path`.
func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }
