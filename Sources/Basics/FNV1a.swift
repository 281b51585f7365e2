/// The 64-bit FNV-1a hash: the same bytes have the same hash in every process and on every machine, which Swift's `Hasher`
/// does not promise. It catches mistakes and spreads keys; it keeps no secret, and a peer can make collisions.
@frozen
public struct FNV1a: Sendable {
    @usableFromInline var state: UInt64

    /// The hash of what was added so far.
    @inlinable public var value: UInt64 { state }

    /// - Parameter seed: another one gives an independent hash.
    @inlinable
    public init(seed: UInt64 = 0xCBF2_9CE4_8422_2325) { state = seed }

    /// Adds one byte.
    @inlinable
    public mutating func add(_ byte: UInt8) { state = (state ^ UInt64(byte)) &* 0x100_0000_01B3 }

    /// Adds bytes in their order.
    @inlinable
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { add(byte) }
    }
}
