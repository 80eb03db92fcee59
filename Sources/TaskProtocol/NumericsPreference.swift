/// In which version of the arithmetic a task that is started again is to run: in that of its first attempt, as long as somebody computes in it.
///
/// Nothing of an attempt that did not end well is recorded, so no row ever mixes two versions; but who watched its tokens is to see them again. While a
/// release is rolled out, workers of both versions stand side by side.
package enum NumericsPreference: Sendable, Equatable {
    /// Any worker will do.
    case none
    /// Only a worker that computes in this version.
    case version(String)
    /// No live worker computes in this version any more, and it was waited for: the task starts anew under the present one.
    case gone(String)

    /// How long a task waits for workers of its version when none is there, in milliseconds.
    package static let patience: Int64 = 60_000

    /// - Parameters:
    ///   - past: the versions, one a precision, of the worker that ran the first attempt.
    ///   - precision: the task's.
    ///   - alive: all versions that live workers compute in.
    ///   - waited: milliseconds since its last attempt ended.
    package init(past: [String], precision: Precision, alive: Set<String>, waited: Int64) {
        guard let version = Self.version(of: precision, in: past) else {
            self = .none
            return
        }
        self = alive.contains(version) || waited < Self.patience ? .version(version) : .gone(version)
    }

    /// The version that its worker must compute in.
    package var required: String? {
        guard case .version(let version) = self else { return nil }
        return version
    }

    /// What a worker with these versions computes the task in, where that is not what its first attempt was computed in.
    package func replacement(_ versions: [String]) -> String? {
        guard case .gone(let version) = self, !versions.contains(version), let end = version.firstIndex(of: "/") else { return nil }
        return versions.first { $0.hasPrefix(version[...end]) }
    }

    /// The version that a worker computes a precision in: `float32/1` of `["bfloat16/1", "float32/1"]`.
    package static func version(of precision: Precision, in versions: [String]) -> String? {
        versions.first { $0.hasPrefix(precision.rawValue + "/") }
    }
}
