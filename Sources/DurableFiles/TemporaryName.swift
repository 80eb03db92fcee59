/// A hidden name that no other writer uses, and which is removed with everything under it as long as it is taken.
///
/// It does not depend on the final name, which may be as long as a name can be.
struct TemporaryName: ~Copyable {
    let path: String
    /// Whether something stands there that nobody else has taken over.
    var isTaken = true

    init(in folder: String) {
        var generator = SystemRandomNumberGenerator()
        path = "\(folder)/.\(String(generator.next(), radix: 36))\(TemporaryName.suffix)"
    }

    deinit { if isTaken { FileTree.remove(path) } }

    /// How the names of unfinished files and folders end.
    static let suffix = ".partial"
}
