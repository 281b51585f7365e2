#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// One setting, declared once: its name, what it takes, what it is for, and which programs have it. From this come the
/// parser, `--help`, `--print-config` and the table of all settings.
public struct Setting<Value: Sendable>: Sendable {
    private(set) var description: SettingDescription
    let parse: @Sendable (String) -> Value?

    /// - Parameters:
    ///   - name: without the prefix of the catalogue: `HTTP_PORT`.
    ///   - defaultText: what an operator would write to get the default.
    ///   - allowed: what a good value looks like, for the error about a bad one: "a number from 1 to 65535".
    ///   - parse: nil for a value that is not allowed.
    public init(
        _ name: String, default defaultText: String, allowed: String, help: String, isSecret: Bool = false,
        parse: @escaping @Sendable (String) -> Value?
    ) {
        description = SettingDescription(
            name: name, defaultText: defaultText, allowed: allowed, help: help, isSecret: isSecret,
            accepts: { parse($0) != nil })
        self.parse = parse
    }

    /// The same setting for these programs only; without this call every program has it.
    public func of(_ programs: String...) -> Self {
        var copy = self
        copy.description.programs = Set(programs)
        return copy
    }

    /// The same setting with another default in one program.
    public func withDefault(_ text: String, in program: String) -> Self {
        var copy = self
        copy.description.defaults[program] = text
        return copy
    }

    /// The same secret with what `--print-config` may show of it, instead of a word that says it is hidden.
    public func redacted(_ redact: @escaping @Sendable (String) -> String) -> Self {
        var copy = self
        copy.description.redact = redact
        return copy
    }
}

/// What is known of a setting without its type.
struct SettingDescription: Sendable {
    /// Without the prefix.
    let name: String
    let defaultText: String
    let allowed: String
    let help: String
    let isSecret: Bool
    let accepts: @Sendable (String) -> Bool
    /// nil: every program has it.
    var programs: Set<String>?
    /// The programs with another default.
    var defaults: [String: String] = [:]
    /// A secret as it may be shown.
    var redact: @Sendable (String) -> String = { _ in "(hidden)" }

    /// The flag: `--http-port`.
    var flag: String { "--" + name.lowercased().replacing("_", with: "-") }

    func isOf(_ program: String) -> Bool { programs?.contains(program) ?? true }

    func defaultText(in program: String) -> String { defaults[program] ?? defaultText }
}

/// A setting of any type.
protocol AnySetting: Sendable {
    var description: SettingDescription { get }
}

extension Setting: AnySetting {}

extension Setting where Value == Int {
    /// A whole number within `range`, in `unit`.
    public static func integer(
        _ name: String, default value: Int, _ range: ClosedRange<Int>, unit: String = "", help: String
    ) -> Setting<Int> {
        let unitText = unit.isEmpty ? "" : " " + unit
        return Setting(
            name, default: String(value),
            allowed: "a number from \(range.lowerBound) to \(range.upperBound)\(unitText)",
            help: help
        ) { text in
            guard let number = Int(text), range.contains(number) else { return nil }
            return number
        }
    }
}

extension Setting where Value == Int? {
    /// A whole number within `range`, or empty for none.
    public static func optionalInteger(
        _ name: String, _ range: ClosedRange<Int>, unit: String = "", help: String
    ) -> Setting<Int?> {
        let unitText = unit.isEmpty ? "" : " " + unit
        return Setting(
            name, default: "",
            allowed: "a number from \(range.lowerBound) to \(range.upperBound)\(unitText), or empty", help: help
        ) { text in
            if text.isEmpty { return .some(nil) }
            guard let number = Int(text), range.contains(number) else { return nil }
            return .some(number)
        }
    }
}

extension Setting where Value == String {
    /// Any text; `allowed` says what it means.
    public static func text(
        _ name: String, default value: String, allowed: String, help: String, isSecret: Bool = false
    ) -> Setting<String> {
        Setting(name, default: value, allowed: allowed, help: help, isSecret: isSecret) { $0 }
    }

    /// An IPv4 or IPv6 address in text.
    public static func ipAddress(
        _ name: String, default value: String, allowed: String, help: String
    ) -> Setting<String> {
        Setting(name, default: value, allowed: allowed, help: help) { text in
            var bytes = in6_addr()
            return unsafe inet_pton(AF_INET, text, &bytes) == 1 || inet_pton(AF_INET6, text, &bytes) == 1 ? text : nil
        }
    }

    /// One of `choices`.
    public static func choice(_ name: String, default value: String, _ choices: [String], help: String) -> Setting<
        String
    > {
        Setting(name, default: value, allowed: "one of " + choices.joined(separator: ", "), help: help) { text in
            choices.contains(text) ? text : nil
        }
    }
}

extension Setting where Value == [String] {
    /// Texts between commas; empty for none.
    public static func list(_ name: String, allowed: String, help: String) -> Setting<[String]> {
        Setting(name, default: "", allowed: allowed, help: help) { text in
            text.split(separator: ",").map { $0.trimmingSpaces() }.filter { !$0.isEmpty }
        }
    }
}

extension Setting where Value == [KeyValue] {
    /// `key=value,key=value`; empty for none. A comma that belongs to a value is written `\,`, and a backslash in front of a
    /// comma or of a backslash `\\`.
    public static func keyValues(_ name: String, help: String, isSecret: Bool) -> Setting<[KeyValue]> {
        Setting(
            name, default: "", allowed: "key=value,key=value (a comma inside of a value as \\,)", help: help,
            isSecret: isSecret
        ) { text in
            var pairs: [KeyValue] = []
            for item in KeyValue.items(text) where !item.isEmpty {
                guard let separator = item.firstIndex(of: "=") else { return nil }
                let key = item[..<separator].trimmingSpaces()
                // Also one that is nothing but spaces: what is accepted here is written out and read again.
                guard !key.isEmpty else { return nil }
                pairs.append(KeyValue(key: key, value: item[item.index(after: separator)...].trimmingSpaces()))
            }
            return pairs
        }
    }
}

/// One `key=value` of a setting that takes several.
public struct KeyValue: Sendable, Equatable {
    public let key: String
    public let value: String

    public init(key: String, value: String) {
        self.key = key
        self.value = value
    }

    /// As an operator would write them.
    public static func text(of pairs: [KeyValue]) -> String {
        pairs.map { pair in
            "\(pair.key)=\(pair.value)".replacing("\\", with: "\\\\").replacing(",", with: "\\,")
        }
        .joined(separator: ",")
    }

    /// What stands between commas that are not escaped.
    fileprivate static func items(_ text: String) -> [String] {
        var items: [String] = []
        var item = ""
        var isEscaped = false
        for character in text {
            if isEscaped {
                // In front of anything else a backslash is one.
                if character != ",", character != "\\" { item.append("\\") }
                item.append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "," {
                items.append(item)
                item = ""
            } else {
                item.append(character)
            }
        }
        if isEscaped { item.append("\\") }
        return items + [item]
    }
}

/// A host (a name or an address) and a TCP port: `driver:50051`, `127.0.0.1:50051`, `[::1]:50051`.
public struct HostPort: Sendable, Equatable, CustomStringConvertible {
    public let host: String
    public let port: UInt16

    /// nil if `text` is not of that form.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]), port > 0 else {
            return nil
        }
        var host = text[..<colon]
        if host.hasPrefix("[") && host.hasSuffix("]") {
            host = host.dropFirst().dropLast()
        } else if host.contains(":") {
            return nil
        }
        guard !host.isEmpty, host.utf8.allSatisfy({ $0 > 32 && $0 < 127 }) else { return nil }
        self.host = String(host)
        self.port = port
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

extension Setting where Value == HostPort {
    public static func hostPort(_ name: String, default value: String, help: String) -> Setting<HostPort> {
        Setting(name, default: value, allowed: "host:port", help: help) { HostPort($0) }
    }
}

extension StringProtocol {
    func trimmingSpaces() -> String {
        var text = self[...]
        while text.first == " " { text = text.dropFirst() }
        while text.last == " " { text = text.dropLast() }
        return String(text)
    }
}
