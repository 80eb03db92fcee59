/// Events by time; equal times in the order they were added, so that a seed replays.
struct EventQueue<Event> {
    /// What the heap moves about: the events themselves stay where they are.
    private struct Entry {
        var time: Int64
        var order: UInt64
        var place: Int

        func precedes(_ other: Entry) -> Bool { (time, order) < (other.time, other.order) }
    }

    private var heap: [Entry] = []
    private var places: [Event?] = []
    private var free: [Int] = []
    private var lastOrder: UInt64 = 0

    var nextTime: Int64? { heap.first?.time }

    mutating func add(_ event: Event, at time: Int64) {
        lastOrder += 1
        let place: Int
        if let old = free.popLast() {
            place = old
            places[place] = event
        } else {
            place = places.count
            places.append(event)
        }
        heap.append(Entry(time: time, order: lastOrder, place: place))
        var child = heap.count - 1
        while child > 0, heap[child].precedes(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func next() -> (time: Int64, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            sink()
        }
        guard let event = places[first.place].take() else { return nil }
        free.append(first.place)
        return (first.time, event)
    }

    private mutating func sink() {
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].precedes(heap[least]) { least = child }
            if least == parent { return }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
