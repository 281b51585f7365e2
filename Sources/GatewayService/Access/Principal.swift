import AccessTokens
import Bytes
import RideAPI
import RideDomain

/// What somebody is to Cabstand: a word of a token's `scope` or `roles`.
enum Role: String, CaseIterable, Sendable {
    /// Books for themselves, and follows their own trips.
    case rider
    /// Streams their own position, sets their own status, drives their own trips.
    case driver
    /// Does everything.
    case `operator`
}

/// Who a request comes from, once their token is verified. A gate attaches it to the request.
final class Principal: Sendable {
    /// A rider's or a driver's id: the token's `sub`, of the first issuer that is believed.
    let subject: String
    let roles: Set<Role>
    /// Unix seconds from which on the token is not valid any more.
    let expires: Int64

    /// - Parameter issuer: the one whose subjects are riders and drivers by their own names.
    init(_ token: AccessToken, first issuer: String) {
        subject = Self.subject(token, issuer)
        roles = Set(Role.allCases.filter { token.scopes.contains($0.rawValue) })
        // A clock that goes slow by the skew sees the token as long.
        expires = min(token.expires, .max - TokenVerifier.skew) + TokenVerifier.skew
    }

    /// Two issuers may each have an Ada, and a subject may be no identifier here (`auth0|5f7c…`): those are known by a digest of
    /// both names.
    private static func subject(_ token: AccessToken, _ first: String) -> String {
        if token.issuer == first && Identifier.isValid(token.subject) { return token.subject }
        return Base64URL.encode(SHA256.digest(Array("\(token.issuer)\0\(token.subject)".utf8).span).span)
    }

    /// An idempotency key as the trip service knows it: the same key of two callers is two.
    func own(_ key: String) -> String {
        Base64URL.encode(SHA256.digest(Array("\(subject)\0\(key)".utf8).span).span)
    }

    var isOperator: Bool { roles.contains(.operator) }

    /// Whether this is that rider, or may act for them.
    func isRider(_ id: String) -> Bool { isOperator || roles.contains(.rider) && subject == id }

    /// Whether this is that driver, or may act for them.
    func isDriver(_ id: String) -> Bool { isOperator || roles.contains(.driver) && subject == id }

    /// Whether the trip is theirs, as its rider or as its driver.
    func owns(_ trip: Trip_V1_Trip) -> Bool { isRider(trip.riderID) || isDriver(trip.driverID) }
}
