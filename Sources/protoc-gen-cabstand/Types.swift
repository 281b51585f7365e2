/// The messages and enums of all files, by full name.
struct TypeTable {
    struct Entry {
        /// With the nesting: `Grpc_Health_V1_HealthCheckResponse.ServingStatus`.
        let swiftName: String
        /// The file that declares it.
        let file: String
        /// Nil for an enum.
        let message: MessageDescriptor?
    }

    private(set) var entries: [String: Entry] = [:]

    init(_ files: [FileDescriptor]) {
        for file in files {
            let scope = file.package.isEmpty ? "" : ".\(file.package)"
            let prefix = Names.prefix(package: file.package)
            for message in file.messages { add(message, scope, prefix, file.name) }
            for enumeration in file.enums {
                entries["\(scope).\(enumeration.name)"] = Entry(
                    swiftName: Names.type(enumeration.name, behind: prefix), file: file.name, message: nil)
            }
        }
    }

    private mutating func add(_ message: MessageDescriptor, _ scope: String, _ prefix: String, _ file: String) {
        let fullName = "\(scope).\(message.name)"
        let swiftName = Names.type(message.name, behind: prefix)
        entries[fullName] = Entry(swiftName: swiftName, file: file, message: message)
        for nested in message.messages { add(nested, fullName, swiftName + ".", file) }
        for enumeration in message.enums {
            entries["\(fullName).\(enumeration.name)"] = Entry(
                swiftName: Names.type(enumeration.name, behind: swiftName + "."), file: file, message: nil)
        }
    }

    subscript(_ fullName: String) -> Entry {
        get throws(GeneratorError) {
            guard let entry = entries[fullName] else { throw GeneratorError(message: "unknown type \(fullName)") }
            return entry
        }
    }

    /// Whether a message of type `start` can contain one of type `wanted` without an array or a dictionary in between: the
    /// struct would contain itself.
    func contains(_ start: String, _ wanted: String) -> Bool {
        var seen: Set<String> = []
        var queue = [start]
        while let name = queue.popLast() {
            if name == wanted { return true }
            guard seen.insert(name).inserted, let message = entries[name]?.message else { continue }
            queue += message.fields.filter { $0.kind == .message && !$0.isRepeated }.map(\.typeName)
        }
        return false
    }
}

/// Why no code is generated.
struct GeneratorError: Error {
    let message: String
}
