/// What is subscribed to on the events endpoint, so that events nobody takes are never written out.
package struct SubscriptionTable: Sendable {
    private static let bound = 10_000
    private var topics: Set<[UInt8]> = []
    /// Prefixes that are no whole topic.
    private var prefixes: Set<[UInt8]> = []
    /// Too many to be kept: everything is published.
    private var overflowed = false
    private let topicLength: Int

    /// - Parameter topicLength: bytes of a whole topic, `task.` and a UUID.
    package init(topicLength: Int = 41) { self.topicLength = topicLength }

    package mutating func add(_ prefix: [UInt8]) {
        guard topics.count + prefixes.count < Self.bound else {
            overflowed = true
            return
        }
        if prefix.count < topicLength { prefixes.insert(prefix) } else { topics.insert(prefix) }
    }

    package mutating func remove(_ prefix: [UInt8]) {
        topics.remove(prefix)
        prefixes.remove(prefix)
        if topics.isEmpty && prefixes.isEmpty { overflowed = false }
    }

    package func wants(_ topic: [UInt8]) -> Bool {
        if overflowed || topics.contains(topic) { return true }
        return prefixes.contains { topic.starts(with: $0) }
    }
}
