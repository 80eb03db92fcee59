/// An allow-list that its operator may change while it is in use.
///
/// The last good list stays in force while the file is missing, cannot be read or is malformed: a typing error locks nobody out, and lets
/// nobody in. A change counts once two looks have found the same bytes, so that a file in the middle of being written is not taken for one
/// that shuts people out.
struct WatchedKeyList: Sendable {
    /// What a look found.
    enum Outcome: Equatable {
        case unchanged
        /// The list is another now.
        case taken
        /// The file is no list; said once, until it changes again.
        case kept(KeyFileError)
    }

    let path: String
    /// What is in force.
    private(set) var list: KeyList
    /// The bytes last judged, good or not.
    private var judged: [UInt8]
    /// Other bytes, seen once.
    private var pending: [UInt8]?
    private var isUnreadable = false

    /// - Throws: where the file is no list now: a broker does not start with a list that it cannot read.
    init(path: String) throws(KeyFileError) {
        self.path = path
        judged = try CurveKeyFile.contents(path)
        list = try CurveKeyFile.parseList(judged, path)
    }

    /// Looks at the file.
    /// - Parameter isFinal: takes what stands there now, without a second look (SIGHUP).
    mutating func look(isFinal: Bool) -> Outcome {
        do throws(KeyFileError) {
            let bytes = try CurveKeyFile.contents(path)
            isUnreadable = false
            return judge(bytes, isFinal: isFinal)
        } catch {
            pending = nil
            defer { isUnreadable = true }
            return isUnreadable && !isFinal ? .unchanged : .kept(error)
        }
    }

    private mutating func judge(_ bytes: [UInt8], isFinal: Bool) -> Outcome {
        guard bytes != judged else {
            pending = nil
            return .unchanged
        }
        guard isFinal || pending == bytes else {
            pending = bytes
            return .unchanged
        }
        (judged, pending) = (bytes, nil)
        do throws(KeyFileError) {
            list = try CurveKeyFile.parseList(bytes, path)
            return .taken
        } catch {
            return .kept(error)
        }
    }
}
