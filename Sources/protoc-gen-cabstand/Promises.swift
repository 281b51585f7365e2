// What protoc promises of its descriptors, and the generator relies on. Other programs make requests, too, so it is checked.

extension FileDescriptor {
    /// - Throws: what is wrong, by the name of the declaration.
    func check() throws(GeneratorError) {
        for enumeration in enums { try enumeration.check() }
        for message in messages { try message.check() }
    }
}

extension EnumDescriptor {
    fileprivate func check() throws(GeneratorError) {
        if values.isEmpty { throw GeneratorError(message: "\(name): an enum without values") }
    }
}

extension MessageDescriptor {
    /// How deep declarations may nest. Reason: protoc refuses more.
    static let maximumDepth = 32

    fileprivate func check() throws(GeneratorError) {
        for field in fields {
            guard FieldDescriptor.numbers.contains(field.number) else {
                throw GeneratorError(message: "\(name).\(field.name): \(field.number) is no field number")
            }
            if let index = field.oneofIndex, !oneofs.indices.contains(index) {
                throw GeneratorError(message: "\(name).\(field.name): there is no oneof \(index)")
            }
        }
        for enumeration in enums { try enumeration.check() }
        for message in messages { try message.check() }
    }
}

extension FieldDescriptor {
    /// A tag is a number and three bits, and has 32.
    fileprivate static let numbers: ClosedRange<Int32> = 1...536_870_911
}
