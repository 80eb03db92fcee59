package import Encodings

/// Reads config.json member by member and names the one that is wrong. Null counts as absent.
package struct ConfigReader: Sendable {
    private let members: JSONObject

    /// - Parameter members: the parsed file.
    package init(_ members: JSONObject) { self.members = members }

    /// The first of these names that stands there (Hugging Face's aliases) with its value.
    private func value(_ names: [String]) -> (name: String, value: JSONValue)? {
        for name in names {
            if let value = members[name], !value.isNull { return (name, value) }
        }
        return nil
    }

    /// A string, or nil where it is absent.
    package func string(_ names: String...) throws(ModelError) -> String? {
        guard let (name, value) = value(names) else { return nil }
        guard let text = value.stringValue else { throw .badConfig(key: name, reason: "is not a string") }
        return text
    }

    /// A truth value, or `standard` where it is absent.
    package func bool(_ name: String, default standard: Bool) throws(ModelError) -> Bool {
        guard let (name, value) = value([name]) else { return standard }
        guard let flag = value.boolValue else { throw .badConfig(key: name, reason: "is not true or false") }
        return flag
    }

    /// A number, or `standard` where it is absent.
    package func double(_ name: String, default standard: Double) throws(ModelError) -> Double {
        guard let (name, value) = value([name]) else { return standard }
        guard let number = value.doubleValue, number.isFinite else { throw .badConfig(key: name, reason: "is not a number") }
        return number
    }

    /// A whole number within `range`, or nil where it is absent.
    package func int(_ names: String..., in range: ClosedRange<Int>) throws(ModelError) -> Int? {
        guard let (name, value) = value(names) else { return nil }
        guard let number = value.intValue else { throw .badConfig(key: name, reason: "is not a whole number") }
        guard range.contains(number) else { throw .badConfig(key: name, reason: "is \(number), outside \(range.lowerBound) ... \(range.upperBound)") }
        return number
    }

    /// A whole number that transformers has a default for, which holds where no name stands there. Null is not that default.
    package func size(_ names: String..., default standard: Int, in range: ClosedRange<Int>) throws(ModelError) -> Int {
        guard let (name, value) = value(names) else {
            if let name = names.first(where: { members[$0] != nil }) { throw .badConfig(key: name, reason: "is null and not a whole number") }
            return standard
        }
        guard let number = value.intValue else { throw .badConfig(key: name, reason: "is not a whole number") }
        guard range.contains(number) else { throw .badConfig(key: name, reason: "is \(number), outside \(range.lowerBound) ... \(range.upperBound)") }
        return number
    }

    /// A list, or nil where it is absent.
    package func list(_ name: String) throws(ModelError) -> [JSONValue]? {
        guard let (name, value) = value([name]) else { return nil }
        guard let list = value.arrayValue else { throw .badConfig(key: name, reason: "is not a list") }
        return list
    }

    /// An object's members, or nil where it is absent.
    package func object(_ name: String) throws(ModelError) -> ConfigReader? {
        guard let (name, value) = value([name]) else { return nil }
        guard let members = value.objectValue else { throw .badConfig(key: name, reason: "is not an object") }
        return ConfigReader(members)
    }

    /// Whether a name stands there, be it with null.
    package func has(_ name: String) -> Bool { members[name] != nil }

    /// One token id or a list of them, or nil where it is absent. Ids from `rows` on are left out: no token has them. (transformers' defaults
    /// name GPT-2's 50256 whatever the vocabulary, so such configs are common, and transformers loads them.)
    package func tokenIDs(_ name: String, rows: Int) throws(ModelError) -> [Int32]? {
        guard let (name, value) = value([name]) else { return nil }
        var ids: [Int32] = []
        for item in value.arrayValue ?? [value] {
            guard let id = item.intValue else { throw .badConfig(key: name, reason: "is not a token id or a list of them") }
            guard id >= 0 else { throw .badConfig(key: name, reason: "is \(id), and ids begin at 0") }
            if id < rows { ids.append(Int32(id)) }
        }
        return ids
    }
}
