/// Writes a message: a flat struct with its measuring, writing and reading, and what is nested in it.
struct MessageGenerator {
    let message: MessageDescriptor
    /// With a leading dot.
    let fullName: String
    let path: [Int32]
    let file: FileDescriptor
    let types: TypeTable
    private let fields: [FieldGenerator]

    init(
        _ message: MessageDescriptor, scope: String, path: [Int32], file: FileDescriptor, types: TypeTable
    ) throws(GeneratorError) {
        self.message = message
        fullName = scope + message.name
        self.path = path
        self.file = file
        self.types = types
        var fields: [FieldGenerator] = []
        for field in message.fields { fields.append(try FieldGenerator(field, in: fullName, types: types)) }
        self.fields = fields
    }

    /// A oneof's index, property, and fields. Those that protoc makes up for `optional` fields are not among them.
    private var oneofs: [(index: Int, name: String, type: String, fields: [FieldGenerator])] {
        message.oneofs.enumerated().compactMap { index, name in
            let members = fields.filter { field in
                if case .oneof = field.shape { return field.field.oneofIndex == index }
                return false
            }
            if members.isEmpty { return nil }
            return (index, Names.field(name), "OneOf_" + Names.upperCamel(name), members)
        }
    }

    /// Fields and oneofs as the properties of the struct, in the order of the file.
    private var properties: [(name: String, type: String, initial: String)] {
        var result: [(name: String, type: String, initial: String)] = []
        var seen: Set<Int> = []
        for field in fields {
            if case .oneof = field.shape {
                guard let index = field.field.oneofIndex, seen.insert(index).inserted,
                    let oneof = oneofs.first(where: { $0.index == index })
                else { continue }
                result.append((oneof.name, "\(oneof.type)?", "nil"))
            } else {
                result.append((field.name, field.type, field.initial))
            }
        }
        return result
    }

    func write(_ swiftName: String, _ code: inout CodeWriter) throws(GeneratorError) {
        code.line()
        code.comment(path, of: file)
        try code.throwingBlock("public struct \(swiftName): ProtobufMessage") { (code) throws(GeneratorError) in
            writeProperties(&code)
            code.line("public var unknownFields: [UInt8] = []")
            writeInitializers(&code)
            writeNames(&code)
            writeSize(&code)
            writeEncode(&code)
            writeDecode(&code)
            for (index, enumeration) in message.enums.enumerated() {
                let scope = String(fullName.dropFirst()) + "."
                EnumGenerator(enumeration, scope: scope, path: path + [4, Int32(index)], file: file)
                    .write(simpleName(enumeration.name), &code)
            }
            for (index, nested) in message.messages.enumerated() where !nested.isMapEntry {
                try MessageGenerator(
                    nested, scope: fullName + ".", path: path + [3, Int32(index)], file: file, types: types
                ).write(simpleName(nested.name), &code)
            }
            for oneof in oneofs { writeOneof(oneof.index, oneof.type, oneof.fields, &code) }
        }
    }

    /// A nested type's name, where it is declared.
    private func simpleName(_ name: String) -> String { Names.type(name, behind: "") }

    private func writeProperties(_ code: inout CodeWriter) {
        for (index, field) in fields.enumerated() {
            let fieldPath = path + [2, Int32(index)]
            switch field.shape {
            case .oneof:
                guard let oneof = oneofs.first(where: { $0.index == field.field.oneofIndex }) else { continue }
                if oneof.fields.first?.name == field.name {
                    code.comment(path + [8, Int32(oneof.index)], of: file)
                    code.line("public var \(oneof.name): \(oneof.type)?")
                }
                code.comment(fieldPath, of: file)
                let zero = field.field.kind == .message ? ".init()" : zeroOfPlain(field)
                code.block("public var \(field.name): \(field.element)") { code in
                    code.block("get") { code in
                        code.line("if case .\(field.name)(let value)? = self.\(oneof.name) { return value }")
                        code.line("return \(zero)")
                    }
                    code.line("set { self.\(oneof.name) = .\(field.name)(newValue) }")
                }
            case .boxed:
                code.comment(fieldPath, of: file)
                let box = "_" + field.name.filter { $0 != "`" }
                code.block("public var \(field.name): \(field.type)") { code in
                    code.line("get { \(box)?.value }")
                    code.line("set { \(box) = newValue.map { ProtobufBox($0) } }")
                }
                code.line("private var \(box): ProtobufBox<\(field.element)>?")
            default:
                code.comment(fieldPath, of: file)
                let isOptional = field.initial == "nil"
                code.line("public var \(field.name): \(field.type)\(isOptional ? "" : " = \(field.initial)")")
            }
        }
    }

    private func zeroOfPlain(_ field: FieldGenerator) -> String {
        switch field.field.kind {
        case .string: "\"\""
        case .bytes: "[]"
        case .bool: "false"
        case .enumeration: ".init()"
        default: "0"
        }
    }

    private func writeInitializers(_ code: inout CodeWriter) {
        code.line()
        code.line("public init() {}")
        guard !properties.isEmpty else { return }
        code.line()
        code.block("public init", "(", ") {") { code in
            for (index, property) in properties.enumerated() {
                let comma = index + 1 < properties.count ? "," : ""
                code.line("\(property.name): \(property.type) = \(property.initial)\(comma)")
            }
        }
        for property in properties { code.line("    self.\(property.name) = \(property.name)") }
        code.line("}")
    }

    private func writeNames(_ code: inout CodeWriter) {
        code.line()
        code.line("public static var fullName: String { \"\(fullName.dropFirst())\" }")
        code.line()
        if fields.isEmpty {
            code.line("public static var fields: [ProtobufField] { [] }")
            return
        }
        code.block("public static var fields: [ProtobufField]") { code in
            code.block("", "[", "]") { code in
                for field in fields {
                    code.line(
                        "ProtobufField(\(field.field.number), \"\(field.field.name)\", \"\(field.field.jsonName)\"),")
                }
            }
        }
    }

    private func writeSize(_ code: inout CodeWriter) {
        code.line()
        code.block("public var encodedSize: Int") { code in
            if fields.isEmpty {
                code.line("unknownFields.count")
                return
            }
            code.line("var size = unknownFields.count")
            forEachInOrder(&code) { field, code in code.line("size &+= \(field.size)") }
            code.line("return size")
        }
    }

    private func writeEncode(_ code: inout CodeWriter) {
        code.line()
        code.block("public func encode(into buffer: inout ByteBuffer)") { code in
            forEachInOrder(&code) { field, code in code.line(field.encode) }
            code.line("if !unknownFields.isEmpty { buffer.append(unknownFields) }")
        }
    }

    /// Fields by number, a oneof's where its first one is.
    private func forEachInOrder(_ code: inout CodeWriter, _ body: (FieldGenerator, inout CodeWriter) -> Void) {
        var seen: Set<Int> = []
        for field in fields.sorted(by: { $0.field.number < $1.field.number }) {
            guard case .oneof = field.shape, let index = field.field.oneofIndex else {
                body(field, &code)
                continue
            }
            guard seen.insert(index).inserted, let oneof = oneofs.first(where: { $0.index == index }) else { continue }
            code.switchBlock("self.\(oneof.name)") { code in
                for member in oneof.fields {
                    code.caseBlock(".\(member.name)(let value)?") { code in body(member, &code) }
                }
                code.line("case nil: break")
            }
        }
    }

    private func writeDecode(_ code: inout CodeWriter) {
        code.line()
        code.block("public mutating func merge(from reader: inout ProtobufReader) throws(ProtobufError)") { code in
            code.block("while let tag = try reader.nextTag()") { code in
                if fields.isEmpty {
                    code.line("try reader.keepUnknown(tag, in: &unknownFields)")
                    return
                }
                code.switchBlock("tag") { code in
                    for field in fields {
                        let oneof = oneofs.first { $0.index == field.field.oneofIndex }?.name ?? ""
                        for entry in field.decode(oneof: oneof) {
                            if entry.lines.count == 1 {
                                code.line("case \(entry.tag): \(entry.lines[0])")
                            } else {
                                code.caseBlock("\(entry.tag)") { code in
                                    for line in entry.lines { code.line(line) }
                                }
                            }
                        }
                    }
                    code.line("default: try reader.keepUnknown(tag, in: &unknownFields)")
                }
            }
        }
    }

    private func writeOneof(_ index: Int, _ type: String, _ members: [FieldGenerator], _ code: inout CodeWriter) {
        code.line()
        code.comment(path + [8, Int32(index)], of: file)
        code.block("public enum \(type): Equatable, Sendable") { code in
            for member in members {
                code.line("\(member.isRecursive ? "indirect " : "")case \(member.name)(\(member.element))")
            }
        }
    }
}
