/// What one field is in Swift, and the statements that measure, write and read it.
struct FieldGenerator {
    enum Shape {
        /// Without presence.
        case plain
        /// `optional`, and messages.
        case optional
        /// A message that would contain itself: behind a reference.
        case boxed
        case repeated
        case packed
        case map(key: String, value: String)
        /// A case of a oneof.
        case oneof
    }

    let field: FieldDescriptor
    let name: String
    let shape: Shape
    /// The coder's name: `ProtobufDouble`.
    let coder: String
    /// The type of one value: `Double`.
    let element: String
    /// For a oneof's case: it would contain itself.
    let isRecursive: Bool
    private let isNested: Bool
    private let wireType: UInt32

    init(_ field: FieldDescriptor, in message: String, types: TypeTable) throws(GeneratorError) {
        self.field = field
        name = Names.field(field.name)
        (coder, element) = try Self.coder(of: field, types)
        isNested = field.kind == .message
        wireType = Self.wireType(of: field.kind)
        isRecursive = field.kind == .message && !field.isRepeated && types.contains(field.typeName, message)
        if let entry = try? types[field.typeName].message, entry.isMapEntry, field.isRepeated {
            guard let key = entry.fields.first(where: { $0.number == 1 }),
                let value = entry.fields.first(where: { $0.number == 2 })
            else { throw GeneratorError(message: "\(message).\(field.name): a map entry without key and value") }
            let keyCoder = try Self.coder(of: key, types)
            let valueCoder = try Self.coder(of: value, types)
            mapCoder = "ProtobufMap<\(keyCoder.coder), \(valueCoder.coder)>"
            shape = .map(key: keyCoder.element, value: valueCoder.element)
        } else {
            mapCoder = ""
            let isPackable = ![.string, .bytes, .message].contains(field.kind)
            if field.isRepeated {
                shape = isPackable && field.isPacked != false ? .packed : .repeated
            } else if field.oneofIndex != nil && !field.isOptional {
                shape = .oneof
            } else if isRecursive {
                shape = .boxed
            } else {
                shape = isNested || field.isOptional ? .optional : .plain
            }
        }
    }

    private let mapCoder: String

    /// The stored property's type.
    var type: String {
        switch shape {
        case .plain, .oneof: element
        case .optional, .boxed: "\(element)?"
        case .repeated, .packed: "[\(element)]"
        case .map(let key, let value): "[\(key): \(value)]"
        }
    }

    /// The property's value in a new message.
    var initial: String {
        switch shape {
        case .plain:
            switch field.kind {
            case .string: "\"\""
            case .bytes: "[]"
            case .bool: "false"
            case .enumeration: ".init()"
            default: "0"
            }
        case .optional, .boxed, .oneof: "nil"
        case .repeated, .packed: "[]"
        case .map: "[:]"
        }
    }

    /// With `self.`: a field may be named like a parameter or variable of the generated code.
    private var property: String { "self.\(name)" }

    /// The expression that measures the field.
    var size: String {
        switch shape {
        case .plain: "\(coder).fieldSize(\(property), \(field.number))"
        case .optional, .boxed: "\(coder).fieldSize(optional: \(property), \(field.number))"
        case .repeated: "\(coder).fieldSize(repeated: \(property), \(field.number))"
        case .packed: "\(coder).fieldSize(packed: \(property), \(field.number))"
        case .map: "\(mapCoder).fieldSize(\(property), \(field.number))"
        case .oneof: "\(coder).fieldSize(optional: value, \(field.number))"
        }
    }

    /// The statement that writes the field.
    var encode: String {
        switch shape {
        case .plain: "\(coder).encodeField(\(property), \(field.number), into: &buffer)"
        case .optional, .boxed: "\(coder).encodeField(optional: \(property), \(field.number), into: &buffer)"
        case .repeated: "\(coder).encodeField(repeated: \(property), \(field.number), into: &buffer)"
        case .packed: "\(coder).encodeField(packed: \(property), \(field.number), into: &buffer)"
        case .map: "\(mapCoder).encodeField(\(property), \(field.number), into: &buffer)"
        case .oneof: "\(coder).encodeAlways(value, \(field.number), into: &buffer)"
        }
    }

    /// The tags that announce the field, each with the statements that read it. `oneof` is the property that holds it.
    func decode(oneof: String) -> [(tag: UInt32, lines: [String])] {
        let tag = UInt32(field.number) << 3 | wireType
        switch shape {
        case .plain: return [(tag, ["\(property) = try \(coder).decode(&reader)"])]
        case .optional where isNested: return [(tag, ["try reader.merge(into: &\(property))"])]
        case .optional: return [(tag, ["\(property) = try \(coder).decode(&reader)"])]
        case .boxed:
            return [(tag, ["var value = \(property)", "try reader.merge(into: &value)", "\(property) = value"])]
        case .repeated where isNested: return [(tag, ["try reader.append(to: &\(property))"])]
        case .repeated, .packed:
            var cases = [(tag, ["try \(coder).append(to: &\(property), from: &reader)"])]
            // A reader takes both forms, whichever the file asks writers for.
            if wireType != 2 {
                let packed = UInt32(field.number) << 3 | 2
                cases.append((packed, ["try \(coder).appendPacked(to: &\(property), from: &reader)"]))
            }
            return cases
        case .map: return [(tag, ["try \(mapCoder).insert(into: &\(property), from: &reader)"])]
        case .oneof where isNested:
            return [
                (
                    tag,
                    [
                        "var value = \(element)()",
                        "if case .\(name)(let present)? = self.\(oneof) { value = present }",
                        "try reader.merge(into: &value)",
                        "self.\(oneof) = .\(name)(value)",
                    ]
                )
            ]
        case .oneof: return [(tag, ["self.\(oneof) = .\(name)(try \(coder).decode(&reader))"])]
        }
    }

    private static func coder(
        of field: FieldDescriptor, _ types: TypeTable
    ) throws(GeneratorError) -> (coder: String, element: String) {
        switch field.kind {
        case .double: return ("ProtobufDouble", "Double")
        case .float: return ("ProtobufFloat", "Float")
        case .int64: return ("ProtobufInt64", "Int64")
        case .uint64: return ("ProtobufUInt64", "UInt64")
        case .int32: return ("ProtobufInt32", "Int32")
        case .fixed64: return ("ProtobufFixed64", "UInt64")
        case .fixed32: return ("ProtobufFixed32", "UInt32")
        case .bool: return ("ProtobufBool", "Bool")
        case .string: return ("ProtobufString", "String")
        case .bytes: return ("ProtobufBytes", "[UInt8]")
        case .uint32: return ("ProtobufUInt32", "UInt32")
        case .sfixed32: return ("ProtobufSFixed32", "Int32")
        case .sfixed64: return ("ProtobufSFixed64", "Int64")
        case .sint32: return ("ProtobufSInt32", "Int32")
        case .sint64: return ("ProtobufSInt64", "Int64")
        case .message:
            let name = try types[field.typeName].swiftName
            return ("ProtobufNested<\(name)>", name)
        case .enumeration:
            let name = try types[field.typeName].swiftName
            return ("ProtobufEnumeration<\(name)>", name)
        case .group: throw GeneratorError(message: "\(field.name): groups are not generated")
        }
    }

    private static func wireType(of kind: FieldDescriptor.Kind) -> UInt32 {
        switch kind {
        case .double, .fixed64, .sfixed64: 1
        case .float, .fixed32, .sfixed32: 5
        case .string, .bytes, .message: 2
        default: 0
        }
    }
}
