import AccessTokens
import Basics
import Reactor
import RideAPI
import Telemetry

/// Says whom an access token stands for: verifies what is new, and remembers it. Belongs to its loop.
public final class Authenticator {
    public enum Limits {
        /// Tokens that are verified at once, and in a second, on one loop. Reason: 50 µs each: a flood of forged tokens takes a
        /// tenth of the loop's time, and whoever's token is known already is not held up.
        public static let burst = 200
        static let interval: Duration = .milliseconds(100)
        /// Tokens that are remembered.
        static let known = 10_000
    }

    /// Why nobody is known by a token.
    public enum Failure: Error {
        /// It is not a good one.
        case refused(TokenRefusal)
        /// It names a key that its issuer may have published by now: `IssuerKeys.refetch`, and ask again.
        case keyMayBeNew(PublishedIssuer)
        /// Its issuer's keys could never be had yet.
        case issuerAway
        /// Too many new tokens come at once; a second later there is time again.
        case busy
    }

    let loop: EventLoop
    public private(set) var configuration: AccessConfiguration
    private let known = VerifiedTokens<Principal>(capacity: Limits.known)
    private var revocations: Revocations
    private var fullLogs = LogRateLimit()
    private var budget = RateLimit(burst: Limits.burst, interval: Limits.interval)
    /// What it has counted.
    public let metrics: AccessMetrics

    /// - Parameter revocations: what is refused from the start; by default nothing, and nothing is to be read.
    public init(
        loop: EventLoop, configuration: AccessConfiguration, revocations: Revocations = Revocations(began: nil),
        metrics: AccessMetrics = AccessMetrics()
    ) {
        self.loop = loop
        self.configuration = configuration
        self.revocations = revocations
        self.metrics = metrics
    }

    /// What counts from now on; what was verified with the keys before is verified again.
    public func use(_ configuration: AccessConfiguration) {
        self.configuration = configuration
        known.forget { _ in true }
    }

    /// An issuer's tokens are verified with these keys from now on.
    public func use(_ keys: JSONWebKeySet, of issuer: String) {
        var configuration = configuration
        configuration.verifier = configuration.verifier.replacing(keys: keys, of: issuer)
        use(configuration)
    }

    // MARK: Revocations

    /// Refuses what is revoked from now on, also what was verified before.
    public func revoke(_ batch: [Revocation]) {
        if !revocations.add(batch, at: now), let held = fullLogs.admit(now: loop.now) {
            Logger(label: "access").error(
                "too many revocations: the oldest are one for everybody, who has to sign in again",
                metadata: ["tokens_until": "\(revocations.floor)", "held_back": "\(held)"])
        }
        known.forget { revocations.refusal(of: $0, at: now) != nil }
    }

    /// All that was revoked before this program began has been told.
    public func revocationsAreComplete() { revocations.complete() }

    /// How many revocations hold.
    public var revocationCount: Int { revocations.count }

    /// Whether somebody who was known by a token has lost it since: for what goes on behind the request that brought it.
    public func isRevoked(_ principal: Principal) -> Bool { revocations.refusal(of: principal, at: now) != nil }

    private var now: Int64 { loop.wallClockMilliseconds / 1000 }

    // MARK: Tokens

    /// Whom a token in its compact form stands for. Refusals are counted.
    public func principal(of token: Span<UInt8>) throws(Failure) -> Principal {
        if let principal = recall(token) { return principal }
        return try verify(token)
    }

    /// Whom a token stands for that was verified before; nil: it is new, or has expired.
    public func recall(_ token: Span<UInt8>) -> Principal? {
        guard let principal = known.find(token, at: now) else { return nil }
        metrics.recalled.increment()
        return principal
    }

    /// Whom a token stands for that `recall` does not know.
    ///
    /// - Parameter isBudgeted: false: somebody has counted already how many such come. A service's own token costs little, and
    ///   counts in no case: the services would not know each other for what others do.
    public func verify(_ token: Span<UInt8>, isBudgeted: Bool = true) throws(Failure) -> Principal {
        let now = now
        let isFree = !isBudgeted || configuration.secret != nil && ServiceSecret.isServiceToken(token)
        guard isFree || budget.take(now: loop.now) else {
            metrics.refused("busy")
            throw .busy
        }
        do throws(TokenRefusal) {
            let principal = try verify(token, at: now)
            if let refusal = revocations.refusal(of: principal, at: now) { throw refusal }
            metrics.verified.increment()
            known.remember(token, principal, expires: revocations.end(of: principal))
            return principal
        } catch {
            if error == .unknownKey, let issuer = publisher(of: token) {
                if issuer.isWorthAsking(now: loop.now) { throw .keyMayBeNew(issuer) }
                if !issuer.hasKeys {
                    metrics.refused("issuer-away")
                    throw .issuerAway
                }
            }
            metrics.refused(error.label)
            throw .refused(error)
        }
    }

    /// The issuer of a token, if it publishes its keys.
    private func publisher(of token: Span<UInt8>) -> PublishedIssuer? {
        if configuration.published.isEmpty { return nil }
        guard let name = configuration.verifier.claimedIssuer(of: token) else { return nil }
        return configuration.published.first { $0.name == name }
    }

    private func verify(_ token: Span<UInt8>, at now: Int64) throws(TokenRefusal) -> Principal {
        if let secret = configuration.secret, ServiceSecret.isServiceToken(token) {
            return try secret.principal(of: token, at: now)
        }
        return Principal(try configuration.verifier.verify(token, at: now), first: configuration.firstIssuer)
    }
}
