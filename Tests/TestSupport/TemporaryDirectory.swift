import FoundationEssentials

/// A folder of a test's own, removed when the last reference goes.
package final class TemporaryDirectory: Sendable {
    /// The absolute path, without a trailing slash.
    package let path: String

    /// - Throws: where the temporary folder of the system cannot be written.
    package init() throws {
        path = FileManager.default.temporaryDirectory.path() + "/scriptorium-test-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
