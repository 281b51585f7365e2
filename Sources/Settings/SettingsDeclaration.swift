/// Why a program does not start: each line says what is wrong and what is allowed.
public struct SettingsError: Error, Equatable, CustomStringConvertible {
    public let lines: [String]
    public var description: String { lines.joined(separator: "\n") }
}

/// What reading the settings came to.
public enum SettingsOutcome: Sendable {
    /// Run with these; log the warnings.
    case run(SettingsValues)
    /// Ask the server that runs with these how it is, and exit: `--check`.
    case check(SettingsValues)
    /// Print this to standard output and exit with 0: `--help` and `--print-config`.
    case print(String)
}

/// The settings of one program.
///
/// A flag beats the environment, the environment beats the default. Reading has no side effect: arguments and
/// environment are parameters.
public struct SettingsDeclaration: Sendable {
    let program: String
    let summary: String
    let settings: [SettingDescription]

    /// - Parameters:
    ///   - program: the executable's name.
    ///   - summary: one sentence for the head of `--help`.
    ///   - leavingOut: names (without prefix) of settings that mean nothing to it.
    ///   - defaults: defaults that differ from the declared ones, by name without prefix.
    public init(
        program: String, summary: String, leavingOut: Set<String> = [], defaults: [String: String] = [:]
    ) {
        self.program = program
        self.summary = summary
        settings = CabstandSettings.all.filter { !leavingOut.contains($0.name) }.map { setting in
            defaults[setting.name].map { setting.withDefault($0) } ?? setting
        }
    }

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - arguments: without the program's own name.
    ///   - environment: name → value.
    /// - Throws: `SettingsError` with a line per bad value or unknown flag.
    public func read(arguments: [String], environment: [String: String]) throws(SettingsError) -> SettingsOutcome {
        var texts: [String: (text: String, source: String)] = [:]
        var errors: [String] = []
        var warnings: [String] = []
        var wantsConfig = false
        var wantsCheck = false

        for (variable, text) in environment.sorted(by: { $0.key < $1.key }) where variable.hasPrefix("CABSTAND_") {
            if let setting = settings.first(where: { $0.variable == variable }) {
                texts[setting.name] = (text, variable)
            } else if !CabstandSettings.all.contains(where: { $0.variable == variable }),
                !CabstandSettings.buildVariables.contains(variable)
            {
                let nearest = Self.nearest(to: variable, among: settings.map(\.variable))
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
                let nearest = Self.nearest(to: parts[0], among: settings.map(\.flag))
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
        for setting in settings { final[setting.name] = texts[setting.name]?.text ?? setting.defaultText }
        if wantsConfig { return .print(config(texts, warnings)) }
        let values = SettingsValues(program: program, texts: final, given: Set(texts.keys), warnings: warnings)
        return wantsCheck ? .check(values) : .run(values)
    }

    /// The text of `--help`.
    public var help: String {
        var lines = ["Usage: \(program) [options]", "", summary, "", "Each option may be given as a variable instead."]
        for setting in settings {
            lines.append("")
            lines.append("  \(setting.flag) VALUE    \(setting.variable)")
            lines.append("      \(setting.help)")
            let shown = setting.defaultText.isEmpty ? "none" : setting.defaultText
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

    /// The table of all settings in deploy/README.md, in Markdown.
    public static var table: String {
        var lines = ["| variable | default | takes | what it is for |", "|---|---|---|---|"]
        for setting in CabstandSettings.all {
            let shown = setting.defaultText.isEmpty ? "" : "`\(setting.defaultText)`"
            lines.append("| `\(setting.variable)` | \(shown) | \(setting.allowed) | \(setting.help) |")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    /// A line for each setting, as a shell or an env file of compose can read it back, followed by where the value came from.
    private func config(_ texts: [String: (text: String, source: String)], _ warnings: [String]) -> String {
        warnings.map { "# \($0)\n" }.joined()
            + settings.map { setting in
                let (text, source) = texts[setting.name] ?? (setting.defaultText, "default")
                let shown = setting.isSecret && !text.isEmpty ? Self.hidden(text) : text
                return
                    "\(setting.variable)=\(Self.quoted(shown))  # \(source == setting.variable ? "environment" : source)\n"
            }.joined()
    }

    /// As a shell reads it back.
    private static func quoted(_ text: String) -> String {
        let isPlain = text.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), 48...57: true
            default: "_-./:,@%+=".utf8.contains(byte)
            }
        }
        return isPlain ? text : "'" + text.replacing("'", with: "'\\''") + "'"
    }

    /// A secret as it may be shown: a database URL keeps what comes before any password, the rest is hidden.
    private static func hidden(_ text: String) -> String {
        text.hasPrefix("sqlite:") ? text : "(hidden)"
    }

    static func nearest(to text: String, among candidates: [String]) -> String {
        candidates.min { distance(text, $0) < distance(text, $1) } ?? ""
    }

    /// Levenshtein's edit distance.
    static func distance(_ left: String, _ right: String) -> Int {
        let left = Array(left.utf8)
        let right = Array(right.utf8)
        var row = Array(0...right.count)
        for (i, a) in left.enumerated() {
            var previous = row[0]
            row[0] = i + 1
            for (j, b) in right.enumerated() {
                let insertionOrDeletion = min(row[j], row[j + 1]) + 1
                let substitution = previous + (a == b ? 0 : 1)
                previous = row[j + 1]
                row[j + 1] = min(insertionOrDeletion, substitution)
            }
        }
        return row[right.count]
    }
}

/// The settings that are in force.
public struct SettingsValues: Sendable {
    /// The executable's name.
    public let program: String
    private let texts: [String: String]
    private let given: Set<String>
    /// What the operator should know: unknown `CABSTAND_…` variables.
    public let warnings: [String]

    init(program: String, texts: [String: String], given: Set<String>, warnings: [String]) {
        self.program = program
        self.texts = texts
        self.given = given
        self.warnings = warnings
    }

    /// The value of a setting. Reading checked it already, so this cannot fail.
    public subscript<Value>(_ setting: Setting<Value>) -> Value {
        let text = texts[setting.description.name] ?? setting.description.defaultText
        guard let value = setting.parse(text) else {
            preconditionFailure("\(setting.description.variable) has a default that it does not allow")
        }
        return value
    }

    /// Whether a flag or a variable set it.
    public func isGiven<Value>(_ setting: Setting<Value>) -> Bool { given.contains(setting.description.name) }

    /// The same settings with one changed: for the all-in-one program, which wires its services to each other.
    public func replacing<Value>(_ setting: Setting<Value>, with text: String) -> SettingsValues {
        precondition(setting.parse(text) != nil, "\(setting.description.variable) does not take \(text)")
        var texts = texts
        texts[setting.description.name] = text
        return SettingsValues(
            program: program, texts: texts, given: given.union([setting.description.name]), warnings: warnings)
    }
}
