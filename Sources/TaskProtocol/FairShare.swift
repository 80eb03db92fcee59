/// In which order waiting tasks of several clients are served: in turns, a task each, each client's own in the order of the line.
package enum FairShare {
    /// Deals a line round-robin by client.
    ///
    ///     order(["a", "a", "a", "b"], after: nil)  // [0, 3, 1, 2]
    ///
    /// - Parameters:
    ///   - clients: the client of each waiting task, in the line's order.
    ///   - last: the client served last, so that turns go on where the last deal ended; nil begins with the first name.
    /// - Returns: places in the line: a permutation, and the line itself where there is one client only.
    package static func order(_ clients: [String], after last: String?) -> [Int] {
        guard let first = clients.first, clients.contains(where: { $0 != first }) else { return Array(clients.indices) }
        var lines: [String: [Int]] = [:]
        for (place, client) in clients.enumerated() { lines[client, default: []].append(place) }
        let names = lines.keys.sorted()
        let start = last.flatMap { last in names.firstIndex { $0 > last } } ?? 0
        let turns = (names[start...] + names[..<start]).compactMap { lines[$0] }
        var order: [Int] = []
        order.reserveCapacity(clients.count)
        let longest = turns.map(\.count).max() ?? 0
        for round in 0..<longest {
            for line in turns where round < line.count { order.append(line[round]) }
        }
        return order
    }
}
