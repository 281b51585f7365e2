/// The 64-bit FNV-1a hash: the same bytes have the same hash in every process and on every machine, which Swift's `Hasher`
/// does not promise. It catches mistakes and spreads keys; it keeps no secret, and a peer can make collisions.
@frozen
public struct FNV1a: Sendable {
    /// The hash of what was added so far.
    public internal(set) var value: UInt64

    /// - Parameter seed: another one gives an independent hash.
    public init(seed: UInt64 = 0xCBF2_9CE4_8422_2325) { value = seed }

    /// Adds one byte.
    public mutating func add(_ byte: UInt8) { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }

    /// Adds bytes in their order.
    public mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes { add(byte) }
    }
}
