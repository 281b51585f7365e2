import Bytes
import ProtobufWire

// What the plugin needs of google/protobuf/descriptor.proto and compiler/plugin.proto, read by hand: this is where the
// bootstrap ends. Numbers are the field numbers of those files.

struct CodeGeneratorRequest {
    var filesToGenerate: [String] = []
    var parameter = ""
    var files: [FileDescriptor] = []

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: filesToGenerate.append(try reader.readString())
            case 2: parameter = try reader.readString()
            case 15: files.append(try FileDescriptor(decoding: try reader.readBytes()))
            default: try reader.skip(tag)
            }
        }
    }
}

struct FileDescriptor {
    var name = ""
    var package = ""
    var dependencies: [String] = []
    var messages: [MessageDescriptor] = []
    var enums: [EnumDescriptor] = []
    var services: [ServiceDescriptor] = []
    var syntax = "proto2"
    /// The descriptor's bytes without the source code information.
    var stripped: [UInt8] = []
    /// Comments by the path of the declaration that they belong to.
    var comments: [[Int32]: String] = [:]

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var stripped: [UInt8] = []
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            if tag >> 3 == 9 {
                try readComments(try reader.readBytes())
            } else {
                try reader.keepUnknown(tag, in: &stripped)
            }
        }
        self.stripped = stripped
        var known = ProtobufReader(stripped.span)
        while let tag = try known.nextTag() {
            switch tag >> 3 {
            case 1: name = try known.readString()
            case 2: package = try known.readString()
            case 3: dependencies.append(try known.readString())
            case 4: messages.append(try MessageDescriptor(decoding: try known.readBytes(), depth: 1))
            case 5: enums.append(try EnumDescriptor(decoding: try known.readBytes()))
            case 6: services.append(try ServiceDescriptor(decoding: try known.readBytes()))
            case 12: syntax = try known.readString()
            default: try known.skip(tag)
            }
        }
    }

    private mutating func readComments(_ bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            guard tag >> 3 == 1 else {
                try reader.skip(tag)
                continue
            }
            var path: [Int32] = []
            var leading = ""
            var trailing = ""
            let location = try reader.readBytes()
            var inner = ProtobufReader(location.span)
            while let tag = try inner.nextTag() {
                switch tag {
                case 1 << 3 | 2: try ProtobufInt32.appendPacked(to: &path, from: &inner)
                case 1 << 3: try ProtobufInt32.append(to: &path, from: &inner)
                case 3 << 3 | 2: leading = try inner.readString()
                case 4 << 3 | 2: trailing = try inner.readString()
                default: try inner.skip(tag)
                }
            }
            let comment = leading.isEmpty ? trailing : leading
            if !comment.isEmpty { comments[path] = comment }
        }
    }
}

struct MessageDescriptor {
    var name = ""
    var fields: [FieldDescriptor] = []
    var messages: [MessageDescriptor] = []
    var enums: [EnumDescriptor] = []
    var oneofs: [String] = []
    /// The entry of a map field, which protoc has made up.
    var isMapEntry = false

    init(decoding bytes: [UInt8], depth: Int) throws(ProtobufError) {
        guard depth <= Self.maximumDepth else { throw .tooDeep }
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: name = try reader.readString()
            case 2: fields.append(try FieldDescriptor(decoding: try reader.readBytes()))
            case 3: messages.append(try MessageDescriptor(decoding: try reader.readBytes(), depth: depth + 1))
            case 4: enums.append(try EnumDescriptor(decoding: try reader.readBytes()))
            case 7: isMapEntry = try firstFlag(7, of: try reader.readBytes()) ?? false
            case 8: oneofs.append(try firstString(1, of: try reader.readBytes()))
            default: try reader.skip(tag)
            }
        }
    }
}

struct FieldDescriptor {
    /// google.protobuf.FieldDescriptorProto.Type
    enum Kind: Int {
        case double = 1
        case float, int64, uint64, int32, fixed64, fixed32, bool, string, group, message, bytes, uint32, enumeration,
            sfixed32, sfixed64, sint32, sint64
    }

    var name = ""
    var number: Int32 = 0
    var isRepeated = false
    var kind = Kind.int32
    /// With a leading dot: `.driver.v1.Driver`.
    var typeName = ""
    var jsonName = ""
    var oneofIndex: Int?
    var isOptional = false
    /// The `packed` option, nil when the file leaves it open.
    var isPacked: Bool?

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: name = try reader.readString()
            case 3: number = Int32(truncatingIfNeeded: try reader.readVarint())
            case 4: isRepeated = try reader.readVarint() == 3
            case 5: kind = Kind(rawValue: Int(truncatingIfNeeded: try reader.readVarint())) ?? .group
            case 6: typeName = try reader.readString()
            case 8: isPacked = try firstFlag(2, of: try reader.readBytes())
            case 9: oneofIndex = Int(truncatingIfNeeded: try reader.readVarint())
            case 10: jsonName = try reader.readString()
            case 17: isOptional = try reader.readVarint() != 0
            default: try reader.skip(tag)
            }
        }
    }
}

struct EnumDescriptor {
    var name = ""
    var values: [(name: String, number: Int32)] = []

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: name = try reader.readString()
            case 2:
                let value = try reader.readBytes()
                values.append((try firstString(1, of: value), try firstNumber(2, of: value)))
            default: try reader.skip(tag)
            }
        }
    }
}

struct ServiceDescriptor {
    var name = ""
    var methods: [MethodDescriptor] = []

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: name = try reader.readString()
            case 2: methods.append(try MethodDescriptor(decoding: try reader.readBytes()))
            default: try reader.skip(tag)
            }
        }
    }
}

struct MethodDescriptor {
    var name = ""
    var input = ""
    var output = ""
    var clientStreams = false
    var serverStreams = false

    init(decoding bytes: [UInt8]) throws(ProtobufError) {
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag >> 3 {
            case 1: name = try reader.readString()
            case 2: input = try reader.readString()
            case 3: output = try reader.readString()
            case 5: clientStreams = try reader.readVarint() != 0
            case 6: serverStreams = try reader.readVarint() != 0
            default: try reader.skip(tag)
            }
        }
    }
}

/// The answer: files, or why there are none.
struct CodeGeneratorResponse {
    var error = ""
    var files: [(name: String, content: String)] = []

    func encoded() -> [UInt8] {
        var buffer = ByteBuffer()
        ProtobufString.encodeField(error, 1, into: &buffer)
        // FEATURE_PROTO3_OPTIONAL
        ProtobufUInt64.encodeField(1, 2, into: &buffer)
        for file in files {
            buffer.append(varint: 15 << 3 | 2)
            buffer.append(0)
            let start = buffer.count
            ProtobufString.encodeField(file.name, 1, into: &buffer)
            ProtobufString.encodeField(file.content, 15, into: &buffer)
            buffer.setProtobufLength(before: start)
        }
        return buffer.array()
    }
}

// MARK: One field of a small message

private func firstString(_ number: UInt32, of bytes: [UInt8]) throws(ProtobufError) -> String {
    var reader = ProtobufReader(bytes.span)
    while let tag = try reader.nextTag() {
        if tag == number << 3 | 2 { return try reader.readString() }
        try reader.skip(tag)
    }
    return ""
}

private func firstNumber(_ number: UInt32, of bytes: [UInt8]) throws(ProtobufError) -> Int32 {
    var reader = ProtobufReader(bytes.span)
    while let tag = try reader.nextTag() {
        if tag == number << 3 { return Int32(truncatingIfNeeded: try reader.readVarint()) }
        try reader.skip(tag)
    }
    return 0
}

private func firstFlag(_ number: UInt32, of bytes: [UInt8]) throws(ProtobufError) -> Bool? {
    var reader = ProtobufReader(bytes.span)
    while let tag = try reader.nextTag() {
        if tag == number << 3 { return try reader.readVarint() != 0 }
        try reader.skip(tag)
    }
    return nil
}
