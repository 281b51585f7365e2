/// Values by their type, of which there is one each: what was found out about a request or a call on its way to a handler.
///
/// A list with the newest in front, shared by those it was copied to: there are few, a walk is all the search there is, and one
/// more is one object. Empty it is one word.
public struct AttachedValues {
    @usableFromInline var first: Link?

    /// No values.
    @inlinable
    public init() {}

    /// The value of that type; nil if there is none.
    @inlinable
    public subscript<Value>(type: Value.Type) -> Value? {
        // What has this number has been made by `adding` of that very type.
        guard let link = find(ObjectIdentifier(type)) else { return nil }
        return unsafe unsafeDowncast(link, to: Box<Value>.self).value
    }

    /// These, and one more, which stands for its type from now on.
    @inlinable
    public func adding<Value>(_ value: Value) -> AttachedValues {
        var copy = self
        copy.first = Box(value, next: first)
        return copy
    }

    @usableFromInline
    func find(_ type: ObjectIdentifier) -> Link? {
        var link = first
        while let current = link {
            if current.type == type { return current }
            link = current.next
        }
        return nil
    }

    @usableFromInline
    class Link {
        let type: ObjectIdentifier
        let next: Link?

        @usableFromInline
        init(_ type: ObjectIdentifier, next: Link?) {
            self.type = type
            self.next = next
        }
    }

    @usableFromInline
    final class Box<Value>: Link {
        @usableFromInline let value: Value

        @inlinable
        init(_ value: Value, next: Link?) {
            self.value = value
            super.init(ObjectIdentifier(Value.self), next: next)
        }
    }
}
