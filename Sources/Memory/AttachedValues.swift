/// Values by their type, of which there is one each: what was found out about a request or a call on its way to a handler.
/// There are few: a walk is all the search there is.
public struct AttachedValues {
    private var boxes: [(type: ObjectIdentifier, box: AnyObject)] = []

    /// No values.
    public init() {}

    /// The value of that type; nil if there is none.
    public subscript<Value>(type: Value.Type) -> Value? {
        let wanted = ObjectIdentifier(type)
        for (type, box) in boxes where type == wanted { return (box as? Box<Value>)?.value }
        return nil
    }

    /// These, and one more, or another of its type.
    public func adding<Value>(_ value: Value) -> AttachedValues {
        var copy = self
        let type = ObjectIdentifier(Value.self)
        copy.boxes.removeAll { $0.type == type }
        copy.boxes.append((type, Box(value)))
        return copy
    }

    private final class Box<Value> {
        let value: Value
        init(_ value: Value) { self.value = value }
    }
}
