/// Addresses that share their first bits (RFC 4632): `10.0.0.0/8`, `fd00::/8`, or a single one: `127.0.0.1`. An IPv4 address is
/// the same whether it comes as itself or inside IPv6 (`::ffff:10.0.0.1`, RFC 4291 §2.5.5.2).
public struct AddressBlock: Sendable, Hashable {
    private let bits: UInt128
    private let mask: UInt128

    /// What no other machine can reach: `127.0.0.0/8` and `::1`.
    public static let loopback = ["127.0.0.0/8", "::1"].compactMap { AddressBlock($0) }

    /// - Parameter text: an address and, behind a slash, how many of its first bits count; the others do not matter.
    public init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = SocketAddress(ip: String(parts[0]), port: 0) else { return nil }
        let width = address.isIPv6 ? 128 : 32
        var length = width
        if parts.count == 2 {
            guard let given = UInt8(parts[1]).map(Int.init), given <= width, parts[1].first != "+" else { return nil }
            length = given
        }
        // A shift by all bits makes zero.
        mask = UInt128.max << UInt128(width - length)
        bits = Self.bits(address) & mask
    }

    /// Whether the address is one of them, whatever its port.
    public func contains(_ address: SocketAddress) -> Bool { Self.bits(address) & mask == bits }

    fileprivate static let mapped = AddressBlock(bits: UInt128(0xFFFF) << 32, mask: ~UInt128(UInt32.max))

    private init(bits: UInt128, mask: UInt128) {
        self.bits = bits
        self.mask = mask
    }

    fileprivate static func bits(_ address: SocketAddress) -> UInt128 {
        let prefix = address.isIPv6 ? 0 : UInt128(0xFFFF) << 32
        return UInt128(address.high) << 64 | prefix | UInt128(address.low)
    }
}

extension SocketAddress {
    /// What one subscriber of a network has: an IPv4 address, however it is written, or the /64 of an IPv6 address (RFC 6177 §2:
    /// a site gets at least that much, and every device in it as many addresses as it likes).
    public var network: UInt128 {
        let bits = AddressBlock.bits(self)
        return AddressBlock.mapped.contains(self) ? bits : bits & ~UInt128(UInt64.max)
    }

    /// Whether no other machine can reach it.
    public var isLoopback: Bool { AddressBlock.loopback.contains { $0.contains(self) } }
}
