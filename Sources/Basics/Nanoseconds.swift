/// A span of time that programs set and read as a `Duration`, and loops read as nanoseconds: `limits.idleTime` is a `Duration`,
/// `limits.$idleTime` the same in nanoseconds, without a conversion. At least 0, at most 292 years.
@frozen
@propertyWrapper
public struct Nanoseconds: Sendable, Hashable {
    @usableFromInline var count: UInt64

    /// A span; a negative one is none at all.
    @inlinable
    public init(wrappedValue: Duration) { count = min(wrappedValue.nanoseconds, UInt64(Int64.max)) }

    /// The span.
    @inlinable
    public var wrappedValue: Duration {
        get { .nanoseconds(Int64(clamping: count)) }
        set { count = Self(wrappedValue: newValue).count }
    }

    /// Nanoseconds.
    @inlinable
    public var projectedValue: UInt64 { count }
}
