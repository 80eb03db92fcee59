/// A map from names to values that keeps the order in which members were added.
///
/// Small objects are searched linearly; from seventeen members on an index of positions makes look-ups constant (a vocabulary has 50,257).
package struct JSONObject: Sendable, ExpressibleByDictionaryLiteral {
    private static let indexThreshold = 16

    /// The names, in order.
    package private(set) var keys: [String] = []
    private var values: [JSONValue] = []
    private var positions: [ExactName: Int] = [:]

    /// An object without members.
    package init() {}

    /// - Parameter elements: a name given twice keeps its first place and its last value.
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        for (key, value) in elements { self[key] = value }
    }

    /// How many members there are.
    package var count: Int { keys.count }

    /// Whether there is no member.
    package var isEmpty: Bool { keys.isEmpty }

    /// The member of this name; setting a new name appends it, setting nil removes it.
    package subscript(key: String) -> JSONValue? {
        get { position(of: key).map { values[$0] } }
        set {
            switch (position(of: key), newValue) {
            case (let place?, let value?): values[place] = value
            case (let place?, nil): remove(at: place)
            case (nil, let value?): append(key, value)
            case (nil, nil): break
            }
        }
    }

    private func position(of key: String) -> Int? {
        let name = ExactName(text: key)
        return keys.count > Self.indexThreshold ? positions[name] : keys.firstIndex { ExactName(text: $0) == name }
    }

    private mutating func append(_ key: String, _ value: JSONValue) {
        keys.append(key)
        values.append(value)
        if keys.count == Self.indexThreshold + 1 {
            rebuildIndex()
        } else if keys.count > Self.indexThreshold {
            positions[ExactName(text: key)] = keys.count - 1
        }
    }

    private mutating func remove(at place: Int) {
        keys.remove(at: place)
        values.remove(at: place)
        if keys.count > Self.indexThreshold { rebuildIndex() } else { positions = [:] }
    }

    private mutating func rebuildIndex() {
        positions = Dictionary(uniqueKeysWithValues: zip(keys.lazy.map { ExactName(text: $0) }, keys.indices))
    }

    /// Room for members that are about to be appended.
    package mutating func reserveCapacity(_ count: Int) {
        keys.reserveCapacity(count)
        values.reserveCapacity(count)
        if count > Self.indexThreshold { positions.reserveCapacity(count) }
    }
}

/// A member's name, compared byte for byte: Swift takes a composed and a decomposed "é" for equal, JSON does not.
private struct ExactName: Hashable, Sendable {
    let text: String

    static func == (left: ExactName, right: ExactName) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension JSONObject: Sequence {
    /// Members in order.
    package func makeIterator() -> AnyIterator<(key: String, value: JSONValue)> {
        var place = 0
        return AnyIterator { [keys, values] in
            guard place < keys.count else { return nil }
            defer { place += 1 }
            return (keys[place], values[place])
        }
    }
}

extension JSONObject: Equatable {
    /// Equal where the same names hold equal values; their order does not matter, as in JSON.
    package static func == (left: JSONObject, right: JSONObject) -> Bool {
        left.count == right.count && left.allSatisfy { right[$0.key] == $0.value }
    }
}
