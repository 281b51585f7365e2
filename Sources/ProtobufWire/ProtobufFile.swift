import Bytes

/// A `.proto` file as server reflection shows it. Generated code has one of each file: `ProtobufFile.driver_v1_driver`.
public struct ProtobufFile: Sendable {
    /// The path that imports name: `driver/v1/driver.proto`.
    public let name: String
    /// The serialized `google.protobuf.FileDescriptorProto`, without comments.
    public let descriptor: [UInt8]
    /// The files that it imports.
    public let dependencies: [ProtobufFile]
    /// The full names of everything that it declares: messages, enums, services and methods.
    public let symbols: [String]

    /// For generated code; `descriptor` is Base64, which compiles faster than a list of bytes.
    public init(name: String, descriptor: StaticString, dependencies: [ProtobufFile], symbols: [String]) {
        self.name = name
        let text = unsafe UnsafeBufferPointer(start: descriptor.utf8Start, count: descriptor.utf8CodeUnitCount)
        guard let bytes = unsafe Base64.decode(Span(_unsafeElements: text)) else {
            preconditionFailure("the descriptor of \(name) is not Base64")
        }
        self.descriptor = bytes
        self.dependencies = dependencies
        self.symbols = symbols
    }

    /// The file and everything that it imports, directly or not, each once; imported files first.
    public var withDependencies: [ProtobufFile] {
        var files: [ProtobufFile] = []
        func visit(_ file: ProtobufFile) {
            if files.contains(where: { $0.name == file.name }) { return }
            for dependency in file.dependencies { visit(dependency) }
            files.append(file)
        }
        visit(self)
        return files
    }
}
