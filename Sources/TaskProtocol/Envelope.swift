/// How a request's frames divide: those that route the reply, and the one that is the message.
package struct Envelope: Sendable, Equatable {
    /// Most frames that an envelope may have, the empty one among them.
    package static let maximumFrames = 8

    /// How many frames, from the first on, come back unchanged before the reply. (The identity that a ROUTER socket puts in front is not
    /// counted: strip it first.)
    package let frameCount: Int

    /// Whether the frames end with REQ's empty delimiter: such a client gets exactly one reply, so it can watch nothing.
    package var isDelimited: Bool { frameCount > 0 }

    /// The envelope of a message.
    /// - Parameter frameSizes: the sizes of the frames behind the routing identity, in bytes.
    /// - Throws: `bad_request` where it is not an envelope of at most 8 frames and one payload.
    package static func split(frameSizes: [Int]) throws(ContractError) -> Envelope {
        let count = frameSizes.prefix(maximumFrames).firstIndex(of: 0).map { $0 + 1 } ?? 0
        guard frameSizes.count == count + 1 else {
            let found = frameSizes.count - count
            throw ContractError(
                .badRequest, "a message is one frame, after an envelope of at most \(maximumFrames) that ends with an empty one; not \(found)")
        }
        return Envelope(frameCount: count)
    }

    /// The frames to send a broken message's error behind: up to the first empty one, where there is one among the first eight.
    package static func salvaged(frameSizes: [Int]) -> Envelope {
        Envelope(frameCount: frameSizes.prefix(maximumFrames).firstIndex(of: 0).map { $0 + 1 } ?? 0)
    }
}
