internal import Glibc

/// Does something with the file permissions of a user who owns nothing, on this thread alone: root may read and write everything. Any other user keeps
/// their own.
package func asNobody<Result>(_ body: () throws -> Result) rethrows -> Result {
    // Swift's module of the C library leaves its header out.
    let setUser = unsafeBitCast(dlsym(nil, "setfsuid"), to: (@convention(c) (uid_t) -> Int32).self)
    let own = setUser(65_534)
    defer { _ = setUser(uid_t(own)) }
    return try body()
}
