import Glibc

/// A folder that appears, or takes the place of an older one, in one step: built beside its place, synced, then exchanged.
///
/// ```swift
/// let folder = try DurableFolder(replacing: "checkpoint")
/// try DurableFile.write(bytes, to: folder.path + "/config.json")
/// try folder.finish()
/// ```
/// One that is not finished is removed with everything in it.
package struct DurableFolder: ~Copyable {
    /// Where it shall stand.
    private let target: String
    private var temporary: TemporaryName

    /// The folder to fill.
    package var path: String { temporary.path }

    /// Makes an empty folder beside `target`, and those above it where they are missing.
    package init(replacing target: String) throws(FileError) {
        let parent = FileTree.parent(of: target)
        try FileTree.makeFolders(parent)
        let name = TemporaryName(in: parent)
        guard mkdir(name.path, 0o777) == 0 else { throw FileError(path: target, errno: errno) }
        self.target = FileTree.trimmed(target)
        temporary = name
    }

    /// Puts the folder in its place; one that stood there is removed afterwards.
    /// - Parameter isKept: which names of the older folder move into the new one, where that has none of the same name. Where one
    ///   cannot be moved, the older folder is left under a hidden name beside the new one, and the error says where.
    package consuming func finish(keeping isKept: (_ name: String) -> Bool = { _ in false }) throws(FileError) {
        try FileTree.synchronise(folder: path)
        try putInPlace(isKept)
        try FileTree.synchronise(folder: FileTree.parent(of: target))
        // After an exchange the older one stands under the temporary name, and goes with it.
    }

    /// Builds a whole folder, in errors of the caller's own kind.
    /// - Parameters:
    ///   - failure: makes that error of what the system said.
    ///   - isKept: as in ``finish(keeping:)``.
    ///   - body: fills the folder whose path it is given; what it throws leaves the older one in place.
    package static func write<Failure: Error>(
        replacing target: String, keeping isKept: (_ name: String) -> Bool = { _ in false }, failure: (FileError) -> Failure,
        _ body: (_ path: String) throws(Failure) -> Void
    ) throws(Failure) {
        let folder: DurableFolder
        do throws(FileError) { folder = try DurableFolder(replacing: target) } catch { throw failure(error) }
        try body(folder.path)
        do throws(FileError) { try folder.finish(keeping: isKept) } catch { throw failure(error) }
    }

    private mutating func putInPlace(_ isKept: (_ name: String) -> Bool) throws(FileError) {
        if rename(path, target) == 0 {
            temporary.isTaken = false
            return
        }
        // A folder that is not empty cannot be renamed over.
        guard errno == ENOTEMPTY || errno == EEXIST || errno == ENOTDIR else { throw FileError(path: target, errno: errno) }
        if let exchange = Self.exchange, exchange(AT_FDCWD, path, AT_FDCWD, target, 1 << 1) == 0 {
            return try Self.keep(isKept, from: &temporary, in: target)
        }
        // No exchange on this file system: for a moment nothing is there, never a part.
        var old = TemporaryName(in: FileTree.parent(of: target))
        guard rename(target, old.path) == 0 else { throw FileError(path: target, errno: errno) }
        guard rename(path, target) == 0 else {
            old.isTaken = false
            throw FileError(path: old.path, errno: errno)
        }
        temporary.isTaken = false
        try Self.keep(isKept, from: &old, in: target)
    }

    /// Moves what is kept of the older folder to the new one.
    private static func keep(
        _ isKept: (_ name: String) -> Bool, from old: inout TemporaryName, in target: String
    ) throws(FileError) {
        // Through a link nothing is removed, so nothing needs to move.
        guard FileTree.isFolder(old.path) else { return }
        let new = Set(FileTree.names(target))
        for name in FileTree.names(old.path) where isKept(name) && !new.contains(name) {
            guard rename(old.path + "/" + name, target + "/" + name) == 0 else {
                let problem = errno
                old.isTaken = false
                throw FileError(path: old.path + "/" + name, errno: problem)
            }
        }
    }

    /// Linux's renameat2, which Swift's Glibc does not import; nil on a C library without it.
    private static var exchange: (@convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32)? {
        guard let program = dlopen(nil, RTLD_LAZY), let symbol = dlsym(program, "renameat2") else { return nil }
        return unsafeBitCast(symbol, to: (@convention(c) (Int32, UnsafePointer<CChar>, Int32, UnsafePointer<CChar>, UInt32) -> Int32).self)
    }
}
