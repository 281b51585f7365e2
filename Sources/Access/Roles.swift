/// What somebody is to Cabstand: a word of a token's `scope` or `roles`.
public enum Role: String, CaseIterable, Sendable {
    /// Books for themselves, and follows their own trips.
    case rider
    /// Streams their own position, sets their own status, drives their own trips.
    case driver
    /// Does everything.
    case `operator`
    /// Another service of this installation, by its certificate or the services' secret: never by a token of an issuer. Its
    /// subject is a `ServiceName`.
    case service

    /// What a token of an issuer may say.
    public static let ofTokens: [Role] = [.rider, .driver, .operator]

    fileprivate var bit: UInt8 {
        switch self {
        case .rider: 1
        case .driver: 2
        case .operator: 4
        case .service: 8
        }
    }
}

/// A set of roles, in one byte: it is asked with every request and every call.
public struct Roles: Hashable, Sendable, ExpressibleByArrayLiteral {
    private var bits: UInt8 = 0

    public init(_ roles: some Sequence<Role>) {
        for role in roles { bits |= role.bit }
    }

    public init(arrayLiteral roles: Role...) { self.init(roles) }

    /// Those of the words that are roles.
    public init(words: some Sequence<String>) { self.init(words.compactMap(Role.init)) }

    /// Their words, in alphabetical order.
    public var words: [String] { Role.allCases.filter(contains).map(\.rawValue).sorted() }

    /// Whether it is one of them.
    public func contains(_ role: Role) -> Bool { bits & role.bit != 0 }

    /// Whether none is in both.
    public func isDisjoint(with other: Roles) -> Bool { bits & other.bits == 0 }

    /// Whether all of these are among the others.
    public func isSubset(of other: Roles) -> Bool { bits & other.bits == bits }

    /// Those of both.
    public func union(_ other: Roles) -> Roles {
        var all = self
        all.bits |= other.bits
        return all
    }
}
