import Bytes
import ProtobufWire

/// The files that server reflection knows: by name, and by the symbols that they declare.
///
/// A file is a serialized `google.protobuf.FileDescriptorProto`; what reflection must know of it (name, imports, and the full
/// names of all that it declares: messages with their fields and oneofs, enums and their values, services and their methods,
/// extensions) is read from its bytes.
struct DescriptorPool {
    struct File {
        var bytes: [UInt8]
        var name = ""
        var package = ""
        var imports: [String] = []
        /// Full names.
        var symbols: [String] = []
        /// (extended message, number).
        var extensions: [(String, Int32)] = []
    }

    private var files: [String: File] = [:]
    private var fileBySymbol: [String: String] = [:]

    /// Adds a file. Bytes that are no file are not added.
    mutating func add(_ bytes: [UInt8]) {
        guard let file = try? File(bytes), !file.name.isEmpty, files[file.name] == nil else { return }
        for symbol in file.symbols { fileBySymbol[symbol] = file.name }
        files[file.name] = file
    }

    /// The bytes of a file and of all that it imports, the file first; nil: not known.
    func closure(of name: String) -> [[UInt8]]? {
        guard let file = files[name] else { return nil }
        var result = [file.bytes]
        var seen: Set<String> = [name]
        var queue = file.imports
        while let next = queue.popLast() {
            guard seen.insert(next).inserted, let file = files[next] else { continue }
            result.append(file.bytes)
            queue += file.imports
        }
        return result
    }

    func fileName(containing symbol: String) -> String? { fileBySymbol[symbol] }

    func fileName(extending type: String, number: Int32) -> String? {
        files.values.first { $0.extensions.contains { $0 == (type, number) } }?.name
    }

    func extensionNumbers(of type: String) -> [Int32] {
        files.values.flatMap { file in file.extensions.filter { $0.0 == type }.map(\.1) }.sorted()
    }
}

extension DescriptorPool.File {
    init(_ bytes: [UInt8]) throws(ProtobufError) {
        self.bytes = bytes
        var reader = ProtobufReader(bytes.span)
        // The package may come behind what it prefixes, so names are collected without it first.
        var symbols: [String] = []
        while let tag = try reader.nextTag() {
            switch tag {
            case 1 << 3 | 2: name = try reader.readString()
            case 2 << 3 | 2: package = try reader.readString()
            case 3 << 3 | 2: imports.append(try reader.readString())
            case 4 << 3 | 2: try Self.message(try reader.readBytes(), "", &symbols, &extensions)
            case 5 << 3 | 2: try Self.enumeration(try reader.readBytes(), "", &symbols)
            case 6 << 3 | 2: try Self.service(try reader.readBytes(), &symbols)
            case 7 << 3 | 2: try Self.extension(try reader.readBytes(), "", &symbols, &extensions)
            default: try reader.skip(tag)
            }
        }
        self.symbols = symbols.map { package.isEmpty ? $0 : "\(package).\($0)" }
    }

    /// The name of any descriptor: field 1.
    private static func name(_ bytes: [UInt8]) throws(ProtobufError) -> String {
        var reader = ProtobufReader(bytes.span)
        var name = ""
        while let tag = try reader.nextTag() {
            if tag == 1 << 3 | 2 { name = try reader.readString() } else { try reader.skip(tag) }
        }
        return name
    }

    /// A DescriptorProto with what is nested in it.
    private static func message(
        _ bytes: [UInt8], _ scope: String, _ symbols: inout [String], _ extensions: inout [(String, Int32)]
    ) throws(ProtobufError) {
        let full = scope + (try name(bytes))
        symbols.append(full)
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            switch tag {
            // Fields and oneofs.
            case 2 << 3 | 2, 8 << 3 | 2: symbols.append(full + "." + (try name(try reader.readBytes())))
            case 3 << 3 | 2: try message(try reader.readBytes(), full + ".", &symbols, &extensions)
            case 4 << 3 | 2: try enumeration(try reader.readBytes(), full + ".", &symbols)
            case 6 << 3 | 2: try `extension`(try reader.readBytes(), full + ".", &symbols, &extensions)
            default: try reader.skip(tag)
            }
        }
    }

    /// An EnumDescriptorProto: itself and its values, which are named beside it, not in it (C++'s rule of scopes, which is
    /// everybody's).
    private static func enumeration(
        _ bytes: [UInt8], _ scope: String, _ symbols: inout [String]
    ) throws(ProtobufError) {
        symbols.append(scope + (try name(bytes)))
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            if tag == 2 << 3 | 2 {
                symbols.append(scope + (try name(try reader.readBytes())))
            } else {
                try reader.skip(tag)
            }
        }
    }

    /// A ServiceDescriptorProto: itself and its methods.
    private static func service(_ bytes: [UInt8], _ symbols: inout [String]) throws(ProtobufError) {
        let service = try name(bytes)
        symbols.append(service)
        var reader = ProtobufReader(bytes.span)
        while let tag = try reader.nextTag() {
            if tag == 2 << 3 | 2 {
                symbols.append(service + "." + (try name(try reader.readBytes())))
            } else {
                try reader.skip(tag)
            }
        }
    }

    /// A FieldDescriptorProto that extends another message: field 2 is that message, field 3 the number.
    private static func `extension`(
        _ bytes: [UInt8], _ scope: String, _ symbols: inout [String], _ extensions: inout [(String, Int32)]
    ) throws(ProtobufError) {
        symbols.append(scope + (try name(bytes)))
        var reader = ProtobufReader(bytes.span)
        var extended = ""
        var number: Int32 = 0
        while let tag = try reader.nextTag() {
            switch tag {
            case 2 << 3 | 2: extended = try reader.readString()
            case 3 << 3 | 0: number = Int32(truncatingIfNeeded: try reader.readVarint())
            default: try reader.skip(tag)
            }
        }
        extensions.append((extended.hasPrefix(".") ? String(extended.dropFirst()) : extended, number))
    }
}
