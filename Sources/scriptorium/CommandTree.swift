import Encodings

/// What the argument parser says about its commands and their options (the JSON of `--experimental-dump-help`).
struct CommandTree {
    /// One option or flag of a command.
    struct Option {
        /// All its long spellings, with dashes.
        let flags: [String]
        let isFlag: Bool
        let isRepeating: Bool

        /// The spelling that switches it on (`--no-lstrip` is the other one of `--lstrip`).
        private var positive: String { flags.first { !$0.hasPrefix("--no-") } ?? flags[0] }

        /// The name under which environment and config file know it. `--broker` is one of two endpoints, by command.
        func settingName(in command: String) -> String {
            let name = String(positive.dropFirst(2))
            if name == "broker" { return command == "worker" ? "workers-endpoint" : "tasks-endpoint" }
            return name
        }

        /// The spelling that switches it off, where it has one.
        private var negative: String? { isFlag ? flags.first { $0.hasPrefix("--no-") && $0 != positive } : nil }

        /// A switch with two spellings is also known by the one that switches it off, which may be all that its user has read of it.
        var inverseSettingName: String? { negative.map { String($0.dropFirst(2)) } }

        /// The arguments that set it to a value from the environment or a file.
        /// - Throws: ``CommandFailure/usage(_:)`` where a flag is neither on nor off.
        func arguments(for value: String) throws -> [String] {
            if isFlag { return try Self.isOn(value, positive) ? [positive] : negative.map { [$0] } ?? [] }
            if isRepeating { return value.split(separator: ",").flatMap { [flags[0], $0.trimmed] } }
            return [flags[0], value]
        }

        /// As ``arguments(for:)``, for a value that stands under ``inverseSettingName``.
        func inverseArguments(for value: String) throws -> [String] {
            guard let negative else { return [] }
            return [try Self.isOn(value, negative) ? negative : positive]
        }

        private static func isOn(_ value: String, _ flag: String) throws -> Bool {
            switch value.lowercased() {
            case "1", "true", "yes", "on": return true
            case "0", "false", "no", "off": return false
            default: throw CommandFailure.usage("the setting \(flag.dropFirst(2)) is a switch: say true or false, not \(value)")
            }
        }
    }

    /// A command as it was named on a command line.
    struct Command {
        let name: String
        let options: [Option]
        /// Where in the arguments its own arguments start.
        let endOfPath: Int
    }

    private let root: JSONValue

    init(_ description: String) throws {
        let dump = try JSONValue.parse(description, maximumDepth: 64)
        root = dump["command"] ?? .null
    }

    /// The command that some arguments name, or nil where they name none.
    func command(of arguments: [String]) -> Command? {
        var node = root
        var place = 0
        while place < arguments.count, let next = subcommand(of: node, named: arguments[place]) {
            node = next
            place += 1
        }
        guard place > 0 else { return nil }
        return Command(name: node["commandName"]?.stringValue ?? "", options: options(of: node), endOfPath: place)
    }

    /// Every name that a config file may use.
    var settingNames: Set<String> {
        var names: Set<String> = []
        func visit(_ node: JSONValue) {
            let command = node["commandName"]?.stringValue ?? ""
            for option in options(of: node) {
                names.insert(option.settingName(in: command))
                if let inverse = option.inverseSettingName { names.insert(inverse) }
            }
            for child in node["subcommands"]?.arrayValue ?? [] { visit(child) }
        }
        visit(root)
        return names
    }

    private func subcommand(of node: JSONValue, named name: String) -> JSONValue? {
        node["subcommands"]?.arrayValue?.first { $0["commandName"]?.stringValue == name }
    }

    private func options(of node: JSONValue) -> [Option] {
        let all: [Option] = (node["arguments"]?.arrayValue ?? []).compactMap { argument in
            let kind = argument["kind"]?.stringValue
            guard kind == "option" || kind == "flag" else { return nil }
            let flags = (argument["names"]?.arrayValue ?? []).filter { $0["kind"]?.stringValue == "long" }
                .compactMap { $0["name"]?.stringValue.map { "--" + $0 } }
            guard !flags.isEmpty, !["--help", "--version"].contains(flags[0]) else { return nil }
            return Option(flags: flags, isFlag: kind == "flag", isRepeating: argument["isRepeating"]?.boolValue ?? false)
        }
        return Self.joiningSwitches(all)
    }

    /// The parser describes `--lstrip` and `--no-lstrip` as two flags; they are one switch with two spellings.
    private static func joiningSwitches(_ options: [Option]) -> [Option] {
        let flags = Set(options.filter(\.isFlag).flatMap(\.flags))
        return options.compactMap { option in
            guard option.isFlag, let flag = option.flags.first else { return option }
            if flag.hasPrefix("--no-"), flags.contains("--" + flag.dropFirst(5)) { return nil }
            let inverse = "--no-" + flag.dropFirst(2)
            return Option(flags: option.flags + (flags.contains(inverse) ? [inverse] : []), isFlag: true, isRepeating: option.isRepeating)
        }
    }
}

extension Substring {
    /// The text without the blanks at both ends.
    fileprivate var trimmed: String {
        var text = self
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
