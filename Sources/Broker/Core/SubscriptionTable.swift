/// What is subscribed to on an endpoint, so that events nobody takes are never written out.
///
/// XPUB passes on the first subscription of a prefix and the last end of one, so each addition has one removal.
package struct SubscriptionTable: Sendable {
    private let bound: Int
    private var topics: Set<[UInt8]> = []
    /// Prefixes that are no whole topic.
    private var prefixes: Set<[UInt8]> = []
    /// Subscriptions beyond the bound, which are only counted: while there are any, everything is published.
    private var unkept = 0
    /// Bytes of an event's whole topic, `task.` and a UUID: no longer prefix can match one.
    package static let topicLength = 41
    private let topicLength: Int

    /// - Parameters:
    ///   - topicLength: bytes of a whole topic.
    ///   - bound: how many are kept.
    package init(topicLength: Int = Self.topicLength, bound: Int = 10_000) {
        self.topicLength = topicLength
        self.bound = bound
    }

    /// Prefixes that together cover all that is wanted.
    package var kept: [[UInt8]] { topics.union(prefixes).sorted { $0.lexicographicallyPrecedes($1) } + (unkept > 0 ? [Array("task.".utf8)] : []) }

    package mutating func set(_ prefix: [UInt8], isAdded: Bool) { if isAdded { add(prefix) } else { remove(prefix) } }

    package mutating func add(_ prefix: [UInt8]) {
        guard topics.count + prefixes.count < bound else {
            unkept += 1
            return
        }
        if prefix.count < topicLength { prefixes.insert(prefix) } else { topics.insert(prefix) }
    }

    package mutating func remove(_ prefix: [UInt8]) {
        if topics.remove(prefix) == nil, prefixes.remove(prefix) == nil { unkept = max(0, unkept - 1) }
    }

    package func wants(_ topic: [UInt8]) -> Bool {
        if unkept > 0 || topics.contains(topic) { return true }
        return prefixes.contains { topic.starts(with: $0) }
    }
}
