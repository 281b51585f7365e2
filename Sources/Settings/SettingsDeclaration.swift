/// Why a program does not start: each line says what is wrong and what is allowed.
public struct SettingsError: Error, Equatable, CustomStringConvertible {
    public let lines: [String]
    public var description: String { lines.joined(separator: "\n") }
}

/// What reading the settings came to.
public enum SettingsOutcome<Catalogue: SettingsCatalogue>: Sendable {
    /// Run with these; log the warnings.
    case run(SettingsValues<Catalogue>)
    /// Ask the server that runs with these how it is, and exit: `--check`.
    case check(SettingsValues<Catalogue>)
    /// Print this to standard output and exit with 0: `--help` and `--print-config`.
    case print(String)
}

/// All settings of a product, as stored properties: what is declared here is in `--help`, in the table and in the parser.
///
///     struct ShopSettings: SettingsCatalogue {
///         static let prefix = "SHOP_"
///         let port = Setting.integer("PORT", default: 8080, 0...65535, help: "Where the shop listens.")
///         let queue = Setting.text("QUEUE", default: "", allowed: "a name", help: "Where orders wait.").of("worker")
///     }
public protocol SettingsCatalogue: Sendable {
    /// What the environment variables begin with.
    static var prefix: String { get }
    /// Variables with the prefix that mean something to somebody else: no warning for them.
    static var otherVariables: Set<String> { get }
    init()
}

extension SettingsCatalogue {
    public static var otherVariables: Set<String> { [] }

    /// Every setting, in the order of their declarations.
    static var all: [SettingDescription] {
        Mirror(reflecting: Self()).children.compactMap { ($0.value as? any AnySetting)?.description }
    }

    /// All settings as a table in Markdown.
    public static var table: String {
        var lines = ["| variable | default | takes | what it is for |", "|---|---|---|---|"]
        for setting in all {
            let shown = setting.defaultText.isEmpty ? "" : "`\(setting.defaultText)`"
            lines.append("| `\(prefix)\(setting.name)` | \(shown) | \(setting.allowed) | \(setting.help) |")
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

/// The settings of one program.
///
/// A flag beats the environment, the environment beats the default. Reading has no side effect: arguments and
/// environment are parameters.
public struct SettingsDeclaration<Catalogue: SettingsCatalogue>: Sendable {
    let program: String
    let summary: String
    private let all: [SettingDescription]
    private let settings: [SettingDescription]

    /// - Parameters:
    ///   - program: the executable's name.
    ///   - summary: one sentence for the head of `--help`.
    public init(program: String, summary: String) {
        self.program = program
        self.summary = summary
        all = Catalogue.all
        settings = all.filter { $0.isOf(program) }
    }

    private func variable(_ setting: SettingDescription) -> String { Catalogue.prefix + setting.name }

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - arguments: without the program's own name.
    ///   - environment: name → value.
    /// - Throws: `SettingsError` with a line per bad value or unknown flag.
    public func read(arguments: [String], environment: [String: String]) throws(SettingsError) -> SettingsOutcome<
        Catalogue
    > {
        var texts: [String: (text: String, source: String)] = [:]
        var errors: [String] = []
        var warnings: [String] = []
        var wantsConfig = false
        var wantsCheck = false

        for (variable, text) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix(Catalogue.prefix) {
            if let setting = settings.first(where: { self.variable($0) == variable }) {
                texts[setting.name] = (text, variable)
            } else if !all.contains(where: { self.variable($0) == variable }),
                !Catalogue.otherVariables.contains(variable)
            {
                let nearest = nearestName(to: variable, among: settings.map { self.variable($0) })
                warnings.append("\(variable) is not a setting; the nearest one is \(nearest).")
            }
        }

        var index = 0
        while index < arguments.count {
            let argument = arguments[index]
            index += 1
            switch argument {
            case "--help", "-h": return .print(help)
            case "--print-config":
                wantsConfig = true
                continue
            case "--check":
                wantsCheck = true
                continue
            default: break
            }
            let parts = argument.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard let setting = settings.first(where: { $0.flag == parts[0] }) else {
                let nearest = nearestName(to: parts[0], among: settings.map(\.flag))
                errors.append("\(parts[0]) is not an option; the nearest one is \(nearest). --help lists them all.")
                continue
            }
            if parts.count == 2 {
                texts[setting.name] = (parts[1], setting.flag)
            } else if index < arguments.count {
                texts[setting.name] = (arguments[index], setting.flag)
                index += 1
            } else {
                errors.append("\(setting.flag) needs a value: \(setting.allowed).")
            }
        }

        for setting in settings {
            guard let (text, source) = texts[setting.name], !setting.accepts(text) else { continue }
            let shown = setting.isSecret ? "its value" : "\"\(text)\""
            errors.append("\(source): \(shown) is not allowed; it takes \(setting.allowed).")
        }
        guard errors.isEmpty else { throw SettingsError(lines: errors) }

        var final: [String: String] = [:]
        for setting in settings { final[setting.name] = texts[setting.name]?.text ?? setting.defaultText(in: program) }
        if wantsConfig { return .print(config(texts, warnings)) }
        let values = SettingsValues<Catalogue>(
            program: program, texts: final, given: Set(texts.keys), warnings: warnings)
        return wantsCheck ? .check(values) : .run(values)
    }

    /// The text of `--help`.
    public var help: String {
        var lines = ["Usage: \(program) [options]", "", summary, "", "Each option may be given as a variable instead."]
        for setting in settings {
            lines.append("")
            lines.append("  \(setting.flag) VALUE    \(variable(setting))")
            lines.append("      \(setting.help)")
            let text = setting.defaultText(in: program)
            let shown = text.isEmpty ? "none" : text
            lines.append("      Takes \(setting.allowed). Default: \(shown)")
        }
        lines += [
            "",
            "  --check           Asks the \(program) that runs here with the same settings whether it is ready, and exits.",
            "  --print-config    Prints the settings that are in force and where each came from, secrets hidden, and exits.",
            "  --help            Prints this and exits.", "",
            "Exits with 0 when all went well, 1 when it could not start, did not end in time, or is not ready, 64 after an",
            "option or a value that is not allowed.", "",
        ]
        return lines.joined(separator: "\n")
    }

    /// A line for each setting, as a shell or an env file of compose can read it back, followed by where the value came from.
    private func config(_ texts: [String: (text: String, source: String)], _ warnings: [String]) -> String {
        warnings.map { "# \($0)\n" }.joined()
            + settings.map { setting in
                let (text, source) = texts[setting.name] ?? (setting.defaultText(in: program), "default")
                let shown = setting.isSecret && !text.isEmpty ? setting.redact(text) : text
                let variable = variable(setting)
                return "\(variable)=\(quoted(shown))  # \(source == variable ? "environment" : source)\n"
            }.joined()
    }
}

/// The settings that are in force. Each is a property: `settings.httpPort`.
@dynamicMemberLookup
public struct SettingsValues<Catalogue: SettingsCatalogue>: Sendable {
    /// The executable's name.
    public let program: String
    private let catalogue = Catalogue()
    private let texts: [String: String]
    private let given: Set<String>
    /// What the operator should know: unknown variables with the catalogue's prefix.
    public let warnings: [String]

    init(program: String, texts: [String: String], given: Set<String>, warnings: [String]) {
        self.program = program
        self.texts = texts
        self.given = given
        self.warnings = warnings
    }

    /// The value of a setting. Reading checked it already, so this cannot fail.
    public subscript<Value>(dynamicMember setting: KeyPath<Catalogue, Setting<Value>>) -> Value {
        let setting = catalogue[keyPath: setting]
        let text = texts[setting.description.name] ?? setting.description.defaultText(in: program)
        guard let value = setting.parse(text) else {
            preconditionFailure("\(setting.description.name) has a default that it does not allow")
        }
        return value
    }

    /// The environment variable of a setting: `CABSTAND_HTTP_PORT`.
    public func variable<Value>(_ setting: KeyPath<Catalogue, Setting<Value>>) -> String {
        Catalogue.prefix + catalogue[keyPath: setting].description.name
    }

    /// Whether a flag or a variable set it.
    public func isGiven<Value>(_ setting: KeyPath<Catalogue, Setting<Value>>) -> Bool {
        given.contains(catalogue[keyPath: setting].description.name)
    }

    /// The same settings with one changed: for a program that wires several parts to each other.
    public func replacing<Value>(_ setting: KeyPath<Catalogue, Setting<Value>>, with text: String) -> SettingsValues {
        let setting = catalogue[keyPath: setting]
        precondition(setting.parse(text) != nil, "\(setting.description.name) does not take \(text)")
        var texts = texts
        texts[setting.description.name] = text
        return SettingsValues(
            program: program, texts: texts, given: given.union([setting.description.name]), warnings: warnings)
    }
}
