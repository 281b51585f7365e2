/// Names a value of a slab: its place and the generation of that place.
///
/// A place is used again, a (place, generation) is not: a handle that is kept too long finds nothing, never somebody else's
/// value. It is plain data: keep it anywhere, send it through a timer or an epoll token.
public struct Handle<Element: ~Copyable>: Hashable, Sendable, BitwiseCopyable {
    /// The place.
    public let slot: UInt32
    /// Counts the uses of the place, from 1. 0 names nothing.
    public let generation: UInt32

    /// A handle of a place and its generation; 0 is no generation.
    @inlinable @inline(__always)
    public init(slot: UInt32, generation: UInt32) {
        self.slot = slot
        self.generation = generation
    }

    /// Names nothing, ever.
    @inlinable
    public static var none: Self { Self(slot: 0, generation: 0) }

    /// `generation` in the upper half, `slot` in the lower; 0 for `none`.
    @inlinable @inline(__always)
    public var token: UInt64 { UInt64(generation) << 32 | UInt64(slot) }

    /// The handle that `token` stands for.
    @inlinable @inline(__always)
    public init(token: UInt64) {
        slot = UInt32(truncatingIfNeeded: token)
        generation = UInt32(truncatingIfNeeded: token >> 32)
    }
}
