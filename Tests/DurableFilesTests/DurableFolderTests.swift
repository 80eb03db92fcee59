import DurableFiles
import Glibc
import TestSupport
import Testing

@Suite("durable folders")
struct DurableFolderTests {
    private struct Refused: Error, Equatable {}

    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    @Test("a folder appears whole, with those above it, and takes the place of an older one")
    func replaces() throws {
        let target = temporary.path + "/a/b/model"
        for name in ["first", "second"] {
            let folder = try DurableFolder(replacing: target + "/")
            try DurableFile.write([1], to: folder.path + "/" + name)
            #expect(FileTree.names(target) == (name == "first" ? [] : ["first"]))
            try folder.finish()
            #expect(FileTree.names(target) == [name])
        }
        #expect(FileTree.names(temporary.path + "/a/b") == ["model"])
    }

    @Test("a folder that is not finished leaves nothing, and the older one stands")
    func dropped() throws {
        let target = temporary.path + "/model"
        let write = { (name: String, fails: Bool) in
            try DurableFolder.write(replacing: target, failure: { _ in Refused() }) { (folder: String) throws(Refused) in
                mkdir(folder + "/" + name, 0o755)
                if fails { throw Refused() }
            }
        }
        try write("old", false)
        #expect(throws: Refused()) { try write("new", true) }
        #expect(FileTree.names(temporary.path) == ["model"])
        #expect(FileTree.names(target) == ["old"])
    }

    @Test("what is kept of the older folder moves into the new one, folders too, and gives way to what is new")
    func keeps() throws {
        let target = temporary.path + "/model"
        try FileTree.makeFolders(target + "/notes/deep")
        for name in ["weights", "old", "notes/deep/page", "both"] { try DurableFile.write([1], to: target + "/" + name) }
        let folder = try DurableFolder(replacing: target)
        for name in ["weights", "both"] { try DurableFile.write([2, 2], to: folder.path + "/" + name) }
        try folder.finish { $0 == "notes" || $0 == "both" }
        #expect(FileTree.names(target) == ["both", "notes", "weights"])
        #expect(FileTree.names(target + "/notes/deep") == ["page"])
        var status = stat()
        #expect(stat(target + "/both", &status) == 0 && status.st_size == 2)
        #expect(FileTree.names(temporary.path) == ["model"])
    }

    @Test("a file in the folder's place gives way to it")
    func overFile() throws {
        let target = temporary.path + "/model"
        try DurableFile.write([1], to: target)
        let folder = try DurableFolder(replacing: target)
        mkdir(folder.path + "/inside", 0o755)
        try folder.finish()
        #expect(FileTree.names(target) == ["inside"])
        #expect(FileTree.names(temporary.path) == ["model"])
    }

    @Test("a file where a folder must be is an error that names it")
    func fileAbove() throws {
        let file = temporary.path + "/file"
        try DurableFile.write([1], to: file)
        #expect(throws: FileError(path: file, errno: ENOTDIR)) { try FileTree.makeFolders(file) }
        #expect(throws: FileError(path: file + "/deep", errno: ENOTDIR)) { try FileTree.makeFolders(file + "/deep") }
        #expect(throws: FileError(path: file, errno: ENOTDIR)) { _ = try DurableFolder(replacing: file + "/model") }
    }

    @Test("removing a tree follows no link")
    func remove() throws {
        let kept = temporary.path + "/kept"
        let tree = temporary.path + "/tree"
        try FileTree.makeFolders(kept)
        try FileTree.makeFolders(tree + "/x/y", mode: 0o700)
        try DurableFile.write([1], to: kept + "/file")
        symlink(kept, tree + "/x/link")
        FileTree.remove(tree)
        #expect(FileTree.names(temporary.path) == ["kept"])
        #expect(FileTree.names(kept) == ["file"])
    }

    @Test("the folder of a path", arguments: [("a", "."), ("/a", "/"), ("/a/b/", "/a"), ("a/b", "a"), ("/", "/")])
    func parents(path: String, folder: String) { #expect(FileTree.parent(of: path) == folder) }
}
