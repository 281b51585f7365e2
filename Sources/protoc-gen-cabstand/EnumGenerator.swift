/// Writes an enum: the named values, and one case for all others (proto3 enums are open).
struct EnumGenerator {
    let enumeration: EnumDescriptor
    let fullName: String
    let path: [Int32]
    let file: FileDescriptor
    /// Each number's first name.
    private var cases: [(name: String, number: Int32, index: Int)] = []
    /// Further names of a number (allow_alias).
    private var aliases: [(name: String, target: String)] = []

    init(_ enumeration: EnumDescriptor, scope: String, path: [Int32], file: FileDescriptor) {
        self.enumeration = enumeration
        fullName = scope + enumeration.name
        self.path = path
        self.file = file
        for (index, name) in Names.cases(enumeration).enumerated() {
            let number = enumeration.values[index].number
            if let first = cases.first(where: { $0.number == number }) {
                aliases.append((name, first.name))
            } else {
                cases.append((name, number, index))
            }
        }
    }

    func write(_ swiftName: String, _ code: inout CodeWriter) {
        let zero = cases.first { $0.number == 0 }?.name ?? cases[0].name
        code.line()
        code.comment(path, of: file)
        code.block("public enum \(swiftName): ProtobufEnum") { code in
            for entry in cases {
                code.comment(path + [2, Int32(entry.index)], of: file)
                code.line("case \(entry.name)")
            }
            code.line("/// A number that the file has no name for.")
            code.line("case UNRECOGNIZED(Int)")
            for alias in aliases {
                code.line()
                code.line("public static var \(alias.name): Self { .\(alias.target) }")
            }
            code.line()
            code.line("public static var fullName: String { \"\(fullName)\" }")
            code.line()
            code.line("@inlinable")
            code.line("public init() { self = .\(zero) }")
            code.line()
            code.line("@inlinable")
            code.block("public init(rawValue: Int)") { code in
                code.switchBlock("rawValue") { code in
                    for entry in cases { code.line("case \(entry.number): self = .\(entry.name)") }
                    code.line("default: self = .UNRECOGNIZED(rawValue)")
                }
            }
            code.line()
            code.line("@inlinable")
            code.block("public var rawValue: Int") { code in
                code.switchBlock("self") { code in
                    for entry in cases { code.line("case .\(entry.name): \(entry.number)") }
                    code.line("case .UNRECOGNIZED(let rawValue): rawValue")
                }
            }
        }
    }
}
