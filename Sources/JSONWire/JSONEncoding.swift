import Bytes

extension ByteBuffer {
    /// Appends any value that can be encoded, as JSON (RFC 8259). Members stand in the order in which they are encoded, numbers read
    /// back the same, and a nil that is encoded is null. What the types of other libraries make of themselves is theirs: Foundation's
    /// `Date` is a number of seconds since 2001.
    ///
    /// Nothing is appended when it throws.
    ///
    /// - Throws: `EncodingError.invalidValue`, with the place, of a number that is not finite, for which JSON has no word; and what the
    ///   value itself throws.
    public mutating func appendJSON(encoding value: some Encodable) throws {
        let whole = JSONNode()
        try value.encode(to: NodeEncoder(whole, []))
        whole.write(to: &self)
    }
}

/// A value that is being encoded. Several containers may be filled in turns, so it is written when all of them are.
private final class JSONNode {
    enum Form {
        /// Nothing was said: an empty object.
        case nothing
        case string(String)
        /// A word or a number, as it is written.
        case literal(String)
        case double(Double)
        case array
        case object
    }

    private(set) var form = Form.nothing
    /// Elements, or the values of `names`.
    private var children: [JSONNode] = []
    private var names: [String] = []
    private var places: [String: Int] = [:]

    var count: Int { children.count }

    func put(_ scalar: Form) {
        guard case .nothing = form else { preconditionFailure("a value is encoded once") }
        form = scalar
    }

    func beArray() {
        switch form {
        case .array: break
        case .nothing: form = .array
        default: preconditionFailure("a value that is something else can't be an array, too")
        }
    }

    func beObject() {
        switch form {
        case .object: break
        case .nothing: form = .object
        default: preconditionFailure("a value that is something else can't be an object, too")
        }
    }

    func append() -> JSONNode {
        let element = JSONNode()
        children.append(element)
        return element
    }

    /// The value of a member: a new one, in the place of an earlier one of that name.
    func member(_ name: String) -> JSONNode {
        let value = JSONNode()
        if let place = places[name] {
            children[place] = value
        } else {
            places[name] = children.count
            names.append(name)
            children.append(value)
        }
        return value
    }

    /// The value of a member that may have been begun.
    func begunMember(_ name: String) -> JSONNode { places[name].map { children[$0] } ?? member(name) }

    func write(to output: inout ByteBuffer) {
        switch form {
        case .string(let text): output.appendJSON(string: text)
        case .literal(let text): output.append(utf8: text)
        case .double(let value): output.appendJSON(double: value)
        case .array:
            output.beginJSONArray()
            for element in children {
                output.appendJSONSeparator()
                element.write(to: &output)
            }
            output.endJSONArray()
        case .nothing, .object:
            output.beginJSONObject()
            for (name, value) in zip(names, children) {
                output.appendJSON(dynamicName: name)
                value.write(to: &output)
            }
            output.endJSONObject()
        }
    }
}

/// The place of an element, or of what a class has inherited.
private struct PlaceKey: CodingKey {
    let stringValue: String
    let intValue: Int?

    init(_ index: Int) { (stringValue, intValue) = (String(index), index) }
    init?(intValue: Int) { self.init(intValue) }
    init(stringValue: String) { (self.stringValue, intValue) = (stringValue, nil) }

    static let inherited = PlaceKey(stringValue: "super")
}

private struct NodeEncoder: Encoder {
    private let node: JSONNode
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(_ node: JSONNode, _ path: [any CodingKey]) {
        self.node = node
        codingPath = path
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
        node.beObject()
        return KeyedEncodingContainer(MemberContainer<Key>(node: node, codingPath: codingPath))
    }

    func unkeyedContainer() -> any UnkeyedEncodingContainer {
        node.beArray()
        return ElementContainer(node: node, codingPath: codingPath)
    }

    func singleValueContainer() -> any SingleValueEncodingContainer {
        ScalarContainer(node: node, codingPath: codingPath)
    }
}

// Everything that a container is given goes through the value's own `encode(to:)`; that of numbers, texts and words leads to
// `ScalarContainer`.

private struct MemberContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
    let node: JSONNode
    let codingPath: [any CodingKey]

    func encodeNil(forKey key: Key) { node.member(key.stringValue).put(.literal("null")) }

    func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
        try value.encode(to: NodeEncoder(node.member(key.stringValue), codingPath + [key]))
    }

    func nestedContainer<Nested: CodingKey>(
        keyedBy type: Nested.Type, forKey key: Key
    ) -> KeyedEncodingContainer<Nested> {
        NodeEncoder(node.begunMember(key.stringValue), codingPath + [key]).container(keyedBy: type)
    }

    func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
        NodeEncoder(node.begunMember(key.stringValue), codingPath + [key]).unkeyedContainer()
    }

    func superEncoder() -> any Encoder { encoder(PlaceKey.inherited) }
    func superEncoder(forKey key: Key) -> any Encoder { encoder(key) }

    private func encoder(_ key: any CodingKey) -> NodeEncoder {
        NodeEncoder(node.member(key.stringValue), codingPath + [key])
    }
}

private struct ElementContainer: UnkeyedEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]
    var count: Int { node.count }

    private func next() -> NodeEncoder {
        let path = codingPath + [PlaceKey(count)]
        return NodeEncoder(node.append(), path)
    }

    func encodeNil() { node.append().put(.literal("null")) }
    func encode<Value: Encodable>(_ value: Value) throws { try value.encode(to: next()) }

    func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) -> KeyedEncodingContainer<Nested> {
        next().container(keyedBy: type)
    }

    func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer { next().unkeyedContainer() }
    func superEncoder() -> any Encoder { next() }
}

private struct ScalarContainer: SingleValueEncodingContainer {
    let node: JSONNode
    let codingPath: [any CodingKey]

    func encodeNil() { node.put(.literal("null")) }
    func encode(_ value: Bool) { node.put(.literal(value ? "true" : "false")) }
    func encode(_ value: String) { node.put(.string(value)) }

    func encode(_ value: Double) throws {
        try check(value)
        node.put(.double(value))
    }

    func encode(_ value: Float) throws {
        try check(value)
        // The shortest number that reads back as this one has fewer digits than the same number as a Double.
        node.put(.double(Double(value.description) ?? Double(value)))
    }

    private func check<Value: BinaryFloatingPoint>(_ value: Value) throws {
        if value.isFinite { return }
        throw EncodingError.invalidValue(
            value, EncodingError.Context(codingPath: codingPath, debugDescription: "JSON has no number for \(value)."))
    }

    func encode(_ value: Int) { put(value) }
    func encode(_ value: Int8) { put(value) }
    func encode(_ value: Int16) { put(value) }
    func encode(_ value: Int32) { put(value) }
    func encode(_ value: Int64) { put(value) }
    func encode(_ value: Int128) { put(value) }
    func encode(_ value: UInt) { put(value) }
    func encode(_ value: UInt8) { put(value) }
    func encode(_ value: UInt16) { put(value) }
    func encode(_ value: UInt32) { put(value) }
    func encode(_ value: UInt64) { put(value) }
    func encode(_ value: UInt128) { put(value) }

    private func put(_ value: some FixedWidthInteger) { node.put(.literal(value.description)) }

    func encode<Value: Encodable>(_ value: Value) throws { try value.encode(to: NodeEncoder(node, codingPath)) }
}
