import Encodings

/// Where a task's map stands, so that an error can name the offending member; the text is made only when there is an error.
package enum TaskPath: Sendable, Equatable {
    /// The single `task` of a submit.
    case task
    /// One of the `tasks` of a submit.
    case tasks(Int)
    /// A task that is stored already, as one published in SQL.
    case stored
    /// The task that a `schedule` makes.
    case schedule

    /// The path of a member of the task's map.
    package func member(_ name: String) -> String {
        switch self {
        case .task: "task.\(name)"
        case .tasks(let index): "tasks[\(index)].\(name)"
        case .stored: name
        case .schedule: "schedule.\(name)"
        }
    }

    /// The path of the map itself.
    package var text: String? {
        switch self {
        case .task: "task"
        case .tasks(let index): "tasks[\(index)]"
        case .stored: nil
        case .schedule: "schedule"
        }
    }
}

/// Reads members of one map and blames them by path.
struct MemberReader {
    let path: TaskPath
    /// What stands between the task and the member: `params.`, or nothing.
    let prefix: String

    func field(_ name: String) -> String { path.member(prefix + name) }

    func wrongType(_ name: String, _ node: Node, expected: String) -> ContractError {
        ContractError(.badRequest, "\(name) must be \(expected), not \(node.kind.article)", field: field(name))
    }

    func outOfRange(_ name: String, _ message: String) -> ContractError {
        ContractError(.invalidArgument, "\(name) \(message)", field: field(name))
    }

    func missing(_ name: String) -> ContractError { outOfRange(name, "is required") }

    func unknown(_ name: String) -> ContractError {
        ContractError(.invalidArgument, "\(printable(name)) is not a member that this version knows", field: field(printable(name)))
    }

    func bool(_ name: String, _ node: Node) throws(ContractError) -> Bool {
        guard let value = node.boolValue else { throw wrongType(name, node, expected: "true or false") }
        return value
    }

    func integer(_ name: String, _ node: Node, in range: ClosedRange<Int64>) throws(ContractError) -> Int64 {
        guard let value = node.integerValue else {
            if let real = node.doubleValue, real == real.rounded() { throw integerRange(name, range) }
            throw wrongType(name, node, expected: "an integer")
        }
        guard range.contains(value) else { throw integerRange(name, range) }
        return value
    }

    private func integerRange(_ name: String, _ range: ClosedRange<Int64>) -> ContractError {
        outOfRange(name, "must be from \(range.lowerBound) to \(range.upperBound)")
    }

    func int(_ name: String, _ node: Node, in range: ClosedRange<Int64>) throws(ContractError) -> Int {
        Int(try integer(name, node, in: range))
    }

    /// A number that single precision holds as a finite one, since that is how it is used (reproducibility.md 11).
    func real(_ name: String, _ node: Node, _ range: RealRange) throws(ContractError) -> Double {
        guard let value = node.doubleValue else { throw wrongType(name, node, expected: "a number") }
        guard range.contains(value) else { throw outOfRange(name, "must be \(range.description)") }
        return value
    }

    func string(_ name: String, _ node: Node) throws(ContractError) -> String {
        guard let value = node.stringValue else { throw wrongType(name, node, expected: "a string") }
        return value
    }

    /// A list of strings; an element is blamed as `name[i]`.
    func strings(_ name: String, _ node: Node, allowEmptyString: Bool, maximumCount: Int = .max) throws(ContractError) -> [String] {
        guard node.kind == .array else { throw wrongType(name, node, expected: "a list of strings") }
        guard node.count <= maximumCount else { throw outOfRange(name, "may hold at most \(maximumCount) strings") }
        var values: [String] = []
        values.reserveCapacity(node.count)
        try node.forEachElement { element throws(ContractError) in
            let value = try string("\(name)[\(values.count)]", element)
            guard allowEmptyString || !value.isEmpty else { throw outOfRange("\(name)[\(values.count)]", "must not be empty") }
            values.append(value)
        }
        return values
    }

    /// One of an enumeration's words.
    func word<Word: RawRepresentable & CaseIterable>(_ name: String, _ node: Node) throws(ContractError) -> Word where Word.RawValue == String {
        let text = try string(name, node)
        guard let word = Word(rawValue: text) else {
            let known = Word.allCases.map { "\"\($0.rawValue)\"" }.joined(separator: ", ")
            throw outOfRange(name, "must be one of \(known)")
        }
        return word
    }
}

/// An interval of reals, open or closed at its lower end.
struct RealRange {
    let lower: Double
    let lowerIsIncluded: Bool
    let upper: Double
    var upperIsIncluded = true

    static let unit = RealRange(lower: 0, lowerIsIncluded: true, upper: 1)
    static let unitWithoutZero = RealRange(lower: 0, lowerIsIncluded: false, upper: 1)
    static let unitWithoutOne = RealRange(lower: 0, lowerIsIncluded: true, upper: 1, upperIsIncluded: false)
    static let positive = RealRange(lower: 0, lowerIsIncluded: false, upper: .infinity)
    static let notNegative = RealRange(lower: 0, lowerIsIncluded: true, upper: .infinity)
    static let any = RealRange(lower: -.infinity, lowerIsIncluded: true, upper: .infinity)

    func contains(_ value: Double) -> Bool {
        let rounded = Double(Float(value))
        guard rounded.isFinite else { return false }
        return (lowerIsIncluded ? value >= lower : rounded > lower) && (upperIsIncluded ? value <= upper : rounded < upper)
    }

    var description: String {
        switch (lower, upper) {
        case (0, .infinity): lowerIsIncluded ? "0 or more (and finite in single precision)" : "above 0 (and finite in single precision)"
        case (0, 1): "\(lowerIsIncluded ? "from 0" : "above 0") \(upperIsIncluded ? "to 1" : "and below 1")"
        default: "finite in single precision"
        }
    }
}

extension Node.Kind {
    /// The kind with its article, for messages.
    var article: String {
        switch self {
        case .null: "null"
        case .bool: "a truth value"
        case .integer: "an integer"
        case .real: "a number with a fraction"
        case .string: "a string"
        case .binary: "binary data"
        case .array: "a list"
        case .map: "a map"
        }
    }
}

/// A stranger's name, fit for a message: at most 64 characters.
func printable(_ name: String) -> String { name.count > 64 ? name.prefix(64) + "…" : name }
