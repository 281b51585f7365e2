/// A small, fast generator whose whole future follows from its seed (SplitMix64, Steele, Lea and Flood 2014): the same seed
/// gives the same run on every machine. For simulations, tests, identifiers and waits that vary. Not for secrets.
@frozen
public struct SplitMix: RandomNumberGenerator, Sendable {
    @usableFromInline var state: UInt64

    /// The numbers of a seed: the same each time.
    @inlinable
    public init(seed: UInt64) { state = seed }

    /// Seeded by the system.
    public init() { self.init(seed: .random(in: .min ... .max)) }

    @inlinable
    @inline(__always)
    public mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// True in `probability` (0 to 1) of all cases.
    public mutating func chance(_ probability: Double) -> Bool {
        probability > 0 && Double.random(in: 0..<1, using: &self) < probability
    }
}
