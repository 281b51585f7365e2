import Bytes
import ProtobufWire

/// The files that server reflection knows, by name, and the symbols that they declare.
struct DescriptorPool {
    private(set) var files: [String: [UInt8]] = [:]

    mutating func add(_ file: [UInt8]) {}
}
