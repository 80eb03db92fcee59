import Glibc

/// The system calls that decide what a crash leaves behind. Tests hand in calls that fail or that note their order; all else uses ``system``.
///
/// Each returns what the C function returns, with its reason in `errno`.
package struct FileCalls: Sendable {
    package var write: @Sendable (_ file: Int32, _ bytes: UnsafeRawPointer, _ count: Int) -> Int
    package var sync: @Sendable (_ file: Int32) -> Int32
    package var rename: @Sendable (_ from: String, _ to: String) -> Int32

    package init(
        write: @escaping @Sendable (Int32, UnsafeRawPointer, Int) -> Int, sync: @escaping @Sendable (Int32) -> Int32,
        rename: @escaping @Sendable (String, String) -> Int32
    ) {
        self.write = write
        self.sync = sync
        self.rename = rename
    }

    /// The machine's own.
    package static let system = FileCalls(write: { Glibc.write($0, $1, $2) }, sync: { fsync($0) }, rename: { Glibc.rename($0, $1) })
}
