/// How names of a `.proto` file become names of Swift. The rules are those that Swift programmers know from
/// swift-protobuf: `package driver.v1; message Driver` is `Driver_V1_Driver`, `rider_id` is `riderID`.
enum Names {
    /// `driver.v1` → `Driver_V1_`
    static func prefix(package: String) -> String {
        guard !package.isEmpty else { return "" }
        return package.split(separator: ".").map { upperCamel(String($0)) }.joined(separator: "_") + "_"
    }

    /// `driver/v1/driver.proto` → `driver_v1_driver`
    static func file(_ path: String) -> String {
        let stem = path.hasSuffix(".proto") ? String(path.dropLast(6)) : path
        let name = String(stem.map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "_" })
        return name.first?.isNumber == true ? "_" + name : name
    }

    /// A type's name behind `prefix`: a package's, the enclosing type's with its dot, or none.
    static func type(_ name: String, behind prefix: String) -> String {
        let camel = upperCamel(name)
        let standsAlone = prefix.isEmpty || prefix.hasSuffix(".")
        return prefix + (standsAlone && reservedTypes.contains(camel) ? camel + "_" : camel)
    }

    static func field(_ name: String) -> String {
        let camel = lowerCamel(name)
        if reservedMembers.contains(camel) { return camel + "_p" }
        return keywords.contains(camel) ? "`\(camel)`" : camel
    }

    /// A method's name, as `field` but from `GetDriver`.
    static func method(_ name: String) -> String {
        var capitals = name.prefix { $0.isUppercase }.count
        if capitals > 1 && capitals < name.count { capitals -= 1 }
        let camel = lowerCamel(name.prefix(max(capitals, 1)).lowercased() + name.dropFirst(max(capitals, 1)))
        return keywords.contains(camel) || camel == "init" ? "`\(camel)`" : camel
    }

    /// `DRIVER_STATUS_AVAILABLE` of `DriverStatus` → `available`. The prefix is kept if it is not on all values, or if a
    /// digit would be first.
    static func cases(_ enumeration: EnumDescriptor) -> [String] {
        let prefix = enumeration.name.filter { $0 != "_" }.lowercased()
        func stripped(_ name: String) -> String? {
            var wanted = prefix[...]
            var rest = name[...]
            while let next = wanted.first {
                guard let letter = rest.popFirst() else { return nil }
                if letter == "_" { continue }
                guard letter.lowercased() == String(next) else { return nil }
                wanted.removeFirst()
            }
            while rest.first == "_" { rest.removeFirst() }
            guard let first = rest.first, !first.isNumber else { return nil }
            return String(rest)
        }
        let short = enumeration.values.compactMap { stripped($0.name) }
        let names = short.count == enumeration.values.count ? short : enumeration.values.map(\.name)
        return names.map { name in
            let camel = lowerCamel(name.lowercased())
            if ["init", "self", "rawValue", "fullName"].contains(camel) { return camel + "_p" }
            return keywords.contains(camel) ? "`\(camel)`" : camel
        }
    }

    /// `a_b`, `a.b` and `aB` → `AB`; `id`, `url`, `http` and `https` behind the first word in capitals.
    static func upperCamel(_ name: String) -> String {
        let camel = lowerCamel(name)
        guard let first = camel.first else { return "_" }
        if first.isNumber { return "_" + camel }
        return first.uppercased() + camel.dropFirst()
    }

    static func lowerCamel(_ name: String) -> String {
        var result = ""
        for (index, word) in words(name).enumerated() {
            let lower = word.lowercased()
            if index == 0 {
                result += lower
            } else if ["id", "url", "http", "https"].contains(lower) {
                result += lower.uppercased()
            } else {
                result += (word.first?.uppercased() ?? "") + word.dropFirst()
            }
        }
        if name.hasPrefix("_") || result.isEmpty || result.first?.isNumber == true { result = "_" + result }
        return result
    }

    /// Words end at underscores and before capitals that follow a small letter.
    private static func words(_ name: String) -> [String] {
        var words: [String] = []
        var word = ""
        func end() {
            if !word.isEmpty { words.append(word) }
            word = ""
        }
        for character in name {
            if character == "_" {
                end()
                continue
            }
            if character.isUppercase, let last = word.last, !last.isUppercase { end() }
            word.append(character)
        }
        end()
        return words
    }

    /// Names that the generated code uses itself.
    private static let reservedMembers: Set<String> = [
        "encodedSize", "unknownFields", "encode", "encoded", "merge", "init", "self", "description",
        "hashValue",
    ]

    private static let reservedTypes: Set<String> = [
        "Type", "Protocol", "Self", "Any", "Bool", "Int", "Int32", "Int64", "UInt32", "UInt64", "UInt8", "Float",
        "Double",
        "String", "Array", "Dictionary", "Optional", "Swift",
    ]

    private static let keywords: Set<String> = [
        "as", "associatedtype", "break", "case", "catch", "class", "continue", "default", "defer", "deinit", "do",
        "else",
        "enum", "extension", "fallthrough", "false", "fileprivate", "for", "func", "guard", "if", "import", "in",
        "inout",
        "internal", "is", "let", "nil", "open", "operator", "precedencegroup", "private", "protocol", "public",
        "repeat",
        "rethrows", "return", "static", "struct", "subscript", "super", "switch", "throw", "throws", "true", "try",
        "typealias", "var", "where", "while",
    ]
}
