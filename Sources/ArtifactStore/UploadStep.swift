package import TaskProtocol

/// What a part that comes in means for an upload of which some bytes are there: a pure decision.
package enum UploadStep: Sendable, Equatable {
    /// Nothing is to be written: it was there already, or something before it is missing. The answer says how much is there.
    case keep
    /// The part's bytes from here on are new, and follow on what is there.
    case append(from: Int)
    /// More is there than the artifact can have: that was another's mistake. All of it goes, then the part is looked at again.
    case startOver

    /// - Parameter have: bytes there so far.
    package init(have: Int64, put: ArtifactPut) {
        guard let size = put.size else { self = .keep; return }
        guard have <= size else { self = .startOver; return }
        guard let data = put.data, put.offset <= have, put.offset + Int64(data.count) > have else { self = .keep; return }
        self = .append(from: Int(have - put.offset))
    }
}
