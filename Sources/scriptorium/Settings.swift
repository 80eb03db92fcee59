internal import ArgumentParser
internal import Configuration
import Encodings
import Glibc

/// Puts what the environment and `--config FILE` say beneath the flags of a command line.
///
/// Every option of every command can come from three places: its flag, the variable `SCRIPTORIUM_` + its name in capitals, or a member of the
/// JSON file of `--config`; flags win over environment over file. This reads the description that the argument parser gives of itself, asks
/// for each option that was not given, and adds what it finds to the arguments. So no command knows about it, and a wrong value is refused
/// with the same message as on the command line.
struct Settings {
    private let commands: CommandTree
    private let environment: [String: String]

    /// - Parameter description: the root command's machine-readable help.
    init(description: String, environment: [String: String]) throws {
        self.environment = environment
        commands = try CommandTree(description)
    }

    /// The command line with everything added.
    /// - Throws: ``CommandFailure/usage(_:)`` where the config file is missing, no JSON map, or names an option that no command has.
    func expand(_ arguments: [String]) throws -> [String] {
        let (given, named) = try Self.splitConfig(arguments)
        let file = named ?? environment["SCRIPTORIUM_CONFIG"].flatMap { $0.isEmpty ? nil : $0 }
        let members = try file.map(readConfig) ?? [:]
        guard let command = commands.command(of: given) else { return given }
        if given.contains("--help") || given.contains("-h") || given.contains("--version") { return given }
        // One after the other, each with both names of a switch: no name in the file may win over the other one in the environment.
        let sources = [
            ConfigReader(
                provider: EnvironmentVariablesProvider(
                    environmentVariables: environment.filter { $0.key.hasPrefix("SCRIPTORIUM_") && !$0.value.isEmpty })),
            ConfigReader(provider: InMemoryProvider(values: members)),
        ]
        let end = given.firstIndex(of: "--") ?? given.endIndex
        let present = Set(given[..<end].filter { $0.hasPrefix("--") }.map { String($0.split(separator: "=", maxSplits: 1)[0]) })
        var added: [String] = []
        for option in command.options where present.isDisjoint(with: option.flags) {
            for source in sources {
                guard let said = try Self.said(of: option, command.name, by: source) else { continue }
                added += said
                break
            }
        }
        return Array(given[..<command.endOfPath]) + added + Array(given[command.endOfPath...])
    }

    /// What a source says of an option, as it would stand on the command line; nil where it says nothing.
    private static func said(of option: CommandTree.Option, _ command: String, by source: ConfigReader) throws -> [String]? {
        if let value = source.string(forKey: ConfigKey("scriptorium.\(option.settingName(in: command))")) { return try option.arguments(for: value) }
        guard let inverse = option.inverseSettingName, let value = source.string(forKey: ConfigKey("scriptorium.\(inverse)")) else { return nil }
        return try option.inverseArguments(for: value)
    }

    /// The command that a command line names first, where `--config FILE` may stand before it; nil where there is none.
    static func commandName(_ arguments: [String]) -> String? { (try? splitConfig(arguments))?.rest.first }

    /// Takes `--config FILE` out of the arguments.
    private static func splitConfig(_ arguments: [String]) throws -> (rest: [String], file: String?) {
        var rest: [String] = []
        var file: String?
        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            if argument == "--" {
                rest += arguments[index...]
                break
            }
            if argument == "--config" {
                guard index + 1 < arguments.count else { throw CommandFailure.usage("--config needs the name of a JSON file") }
                file = arguments[index + 1]
                index += 1
            } else if argument.hasPrefix("--config=") {
                file = String(argument.dropFirst(9))
            } else {
                rest.append(argument)
            }
            index += 1
        }
        return (rest, file)
    }

    /// Reads the file's members; lists become comma-separated text, as in the environment.
    private func readConfig(_ path: String) throws -> [AbsoluteConfigKey: ConfigValue] {
        guard let bytes = InputFile.read(path) else {
            throw CommandFailure.usage("--config: \(path) cannot be read (it names the file of settings; a model's own config is --model-config)")
        }
        let value: JSONValue
        do { value = try JSONValue.parse(bytes) } catch { throw CommandFailure.usage("--config: \(path): \(error)") }
        guard let members = value.objectValue else { throw CommandFailure.usage("--config: \(path) is not a JSON map of option names") }
        let known = commands.settingNames
        var result: [AbsoluteConfigKey: ConfigValue] = [:]
        for (name, member) in members {
            guard known.contains(name) else { throw CommandFailure.usage("--config: \(path): no command has the option \(name)") }
            guard let text = Self.text(member) else {
                throw CommandFailure.usage("--config: \(path): \(name) must be text, a number, true, false or a list of these")
            }
            if !text.isEmpty { result[AbsoluteConfigKey(["scriptorium", name])] = ConfigValue(.string(text), isSecret: true) }
        }
        return result
    }

    private static func text(_ value: JSONValue) -> String? {
        switch value {
        case .null: ""
        case .bool(let flag): flag ? "true" : "false"
        case .integer(let number): "\(number)"
        case .real(let number): "\(number)"
        case .string(let text): text
        case .array(let items):
            items.reduce(String?("")) { text, item in
                guard let text, let next = self.text(item) else { return nil }
                return text.isEmpty ? next : text + "," + next
            }
        case .object: nil
        }
    }
}
