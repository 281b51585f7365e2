import AccessTokens
import Bytes
import Operations
import RideAPI
import RideDomain

/// A program of this installation that calls others.
public enum ServiceName: String, CaseIterable, Sendable {
    case gateway, driver, trip, simulator
}

/// Who a request comes from, once their token is verified. A gate attaches it to the request.
public final class Principal: Sendable {
    /// A rider's or a driver's id: the token's `sub`, of the first issuer that is believed.
    public let subject: String
    public let roles: Roles
    /// Unix seconds from which on the token is not valid any more.
    public let expires: Int64
    /// Unix seconds when the token was made, by its issuer's clock.
    public let issuedAt: Int64
    /// The token's own name, `jti`; empty: it has none.
    public let tokenID: String
    /// Stands for the subject where somebody is counted (`ClientDigest`).
    public let digest: UInt64

    /// The session that the token was made for, as this installation's own tokens name it; empty: for none.
    public var sessionID: String {
        guard let dot = tokenID.utf8.firstIndex(of: UInt8(ascii: ".")) else { return "" }
        return String(tokenID[..<dot])
    }

    /// - Parameter issuer: the one whose subjects are riders and drivers by their own names.
    public init(_ token: AccessToken, first issuer: String) {
        subject = Self.subject(token, issuer)
        roles = Roles(Role.ofTokens.filter { token.scopes.contains($0.rawValue) })
        // A clock that goes slow by the skew sees the token as long.
        expires = Self.bounded(token.expires) + TokenVerifier.skew
        issuedAt = Self.bounded(token.issuedAt)
        tokenID = token.identifier
        digest = ClientDigest.of(subject)
    }

    /// Somebody whom another part of the installation has identified.
    public init(subject: String, roles: Roles, expires: Int64, issuedAt: Int64, tokenID: String) {
        self.subject = subject
        self.roles = roles
        self.expires = Self.bounded(expires)
        self.issuedAt = Self.bounded(issuedAt)
        self.tokenID = tokenID
        digest = ClientDigest.of(subject)
    }

    /// An issuer may say any number: from here on it is a second of the years 1970 to 9999, which can be calculated with.
    private static func bounded(_ second: Int64) -> Int64 {
        min(max(second, Moment.walls.lowerBound / 1000), Moment.walls.upperBound / 1000)
    }

    /// Two issuers may each have an Ada, and a subject may be no identifier here (`auth0|5f7c…`): those are known by a digest of
    /// both names.
    private static func subject(_ token: AccessToken, _ first: String) -> String {
        if token.issuer == first && Identifier.isValid(token.subject) { return token.subject }
        return subject(of: token.subject, at: token.issuer)
    }

    /// As whom somebody is known whom another issuer calls so: by its access token, or by having signed in there.
    static func subject(of name: String, at issuer: String) -> String {
        Base64URL.encode(SHA256.digest(Array("\(issuer)\0\(name)".utf8).span).span)
    }

    /// An idempotency key as the trip service knows it: the same key of two callers is two.
    public func own(_ key: String) -> String {
        Base64URL.encode(SHA256.digest(Array("\(subject)\0\(key)".utf8).span).span)
    }

    public var isOperator: Bool { roles.contains(.operator) }

    /// Whether this is that rider, or may act for them.
    public func isRider(_ id: String) -> Bool { isOperator || roles.contains(.rider) && subject == id }

    /// Whether this is that driver, or may act for them.
    public func isDriver(_ id: String) -> Bool { isOperator || roles.contains(.driver) && subject == id }

    /// Whether this is another service, which asks for what is its own task.
    public var isService: Bool { roles.contains(.service) }

    /// Whether what is asked in this driver's name may be: by themselves, or by a service whose task it is (`RPCRight`).
    public func speaksFor(driver id: String) -> Bool { isService || isDriver(id) }

    /// Whether they may register that driver, and sign them in by a code: an operator anybody, and a program of the installation that
    /// brings simulated drivers along (`RPCRight`) those.
    public func enrols(driver id: String?) -> Bool {
        isOperator || isService && id?.hasPrefix(Identifier.simulatedDriverPrefix) == true
    }

    /// Whether what is asked in this rider's name may be.
    public func speaksFor(rider id: String) -> Bool { isService || isRider(id) }

    /// How much of that driver they may see. The gateway asks in its own name for the car of a trip, which it shows to the rider.
    public func view(ofDriver id: String) -> DriverView {
        isDriver(id) ? .whole : isGateway ? .follower : viewOfDrivers
    }

    /// How much they may see of drivers in a list. The gateway asks in its own name for what it shows to many; the trip service
    /// puts the profile into the trip.
    public var viewOfDrivers: DriverView { isOperator || isService && !isGateway ? .whole : .stranger }

    private var isGateway: Bool { isService && subject == ServiceName.gateway.rawValue }

    /// Whether the trip is theirs, as its rider or as its driver.
    public func owns(_ trip: Trip_V1_Trip) -> Bool { isRider(trip.riderID) || isDriver(trip.driverID) }
}
