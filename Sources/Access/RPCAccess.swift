import AccessTokens
import Bytes
import GRPCRuntime
import KafkaClient
import Operations
import Reactor
import RideAPI

/// Asks at a service who calls, and whether they may: by a token in `authorization`, else by the client's certificate. Handlers find
/// a `Principal` in their call, and look whose thing it is about. Belongs to the server's loop.
///
/// A stream ends when its token does: who has lost it would go on for ever else.
public final class RPCAccess: ServerInterceptor {
    private let authenticator: Authenticator
    /// By the method's place.
    private let rights: [RPCRight]
    private let streams: OpenStreams
    /// Fetches the keys of issuers that publish them; nil: there are none of the kind.
    private let issuers: IssuerKeysLink?
    /// How many new tokens an address may bring; nil: as many as it likes.
    private let limits: RPCLimits?
    /// Who has done what past the gateway; nil: nobody keeps it.
    private var audit: RPCAudit?

    /// Puts it before the handlers of a server, before it listens. Whether access is restricted or not, a server with a method that
    /// the table does not have must not start.
    ///
    /// - Parameters:
    ///   - configuration: nil: everybody may do everything.
    ///   - limits: how much of each class one may ask; nil: nothing is limited. Who is refused has asked, too.
    /// - Returns: nil: everybody may do everything.
    /// - Throws: `AccessSettingError`, which names the method; `TLSError` if the system's certificates can't be read.
    @discardableResult
    public static func guarding(
        _ server: GRPCServer, _ configuration: AccessConfiguration?, limits: [LimitClass: LimitPolicy]? = nil,
        metrics: AccessMetrics = AccessMetrics()
    ) throws -> RPCAccess? {
        var rights: [RPCRight] = []
        for path in server.methods {
            guard let right = RPCRight.of(path), right.isForAnyone || RPCRight.limit(of: path) != nil else {
                throw AccessSettingError(description: "\(path) has no row in the table of who may call what.")
            }
            rights.append(right)
        }
        guard let configuration else { return nil }
        let issuers = try IssuerKeysLink(configuration, loop: server.loop)
        let limits = limits.map { RPCLimits(server, $0) }
        let access = RPCAccess(
            rights, Authenticator(loop: server.loop, configuration: configuration, metrics: metrics), issuers, limits)
        let bound = LoopBound(access, loop: server.loop)
        issuers?.start { issuer, keys in bound.value.authenticator.use(keys, of: issuer) }
        server.add(access)
        if let limits { server.add(limits) }
        server.add(Judge(access: access))
        return access
    }

    private init(
        _ rights: [RPCRight], _ authenticator: Authenticator, _ issuers: IssuerKeysLink?, _ limits: RPCLimits?
    ) {
        self.issuers = issuers
        self.limits = limits
        self.rights = rights
        self.authenticator = authenticator
        streams = OpenStreams(loop: authenticator.loop)
    }

    /// What counts from now on; what was verified with the keys before is verified again.
    public func use(_ configuration: AccessConfiguration) {
        var configuration = configuration
        configuration.published = authenticator.configuration.published
        authenticator.use(configuration)
        issuers?.tellAgain()
    }

    /// Asks no issuer any more.
    public func close() { issuers?.close() }

    /// Refuses what is revoked from now on, and ends the streams that came with it.
    public func revoke(_ batch: [Revocation]) {
        authenticator.revoke(batch)
        streams.end(.invalidToken(.revoked)) { authenticator.isRevoked($0) }
    }

    /// Follows the revocations that Kafka tells of. What was revoked before is read in the first moments, and then ends what has
    /// come with it meanwhile: a service that refused everybody until then would fail the calls of those who may.
    ///
    /// - Parameter role: of the service, for its metrics.
    /// - Returns: what has to be closed at the end.
    /// - Throws: a property of the configuration that librdkafka refuses.
    public func followRevocations(_ kafka: KafkaConfiguration, role: String) throws -> RevocationReader {
        let metrics = RevocationMetrics(loop: authenticator.loop, role: role)
        let reader = try RevocationReader(loop: authenticator.loop, configuration: kafka, metrics: metrics)
        reader.onRevocations = { [weak self] batch in
            guard let self else { return }
            revoke(batch)
            metrics.set(authenticator.revocationCount)
        }
        reader.onComplete = { [weak self] in self?.authenticator.revocationsAreComplete() }
        return reader
    }

    /// Keeps the audit of what comes past the gateway from now on, and writes it to Kafka.
    ///
    /// - Returns: what has to be closed at the end, behind the server.
    /// - Throws: a property of the configuration that librdkafka refuses.
    public func keepAudit(_ kafka: KafkaConfiguration, of service: ServiceName) throws -> KafkaAudit {
        let loop = authenticator.loop
        let outlet = try KafkaAudit(loop: loop, configuration: kafka, metrics: AuditMetrics(service))
        audit = RPCAudit(
            trail: AuditTrail(loop: loop, service: service) { outlet.publish($0) }, metrics: authenticator.metrics)
        return outlet
    }

    public func intercept(_ call: InterceptedCall) throws(RPCError) {
        let right = rights[call.method]
        if right.isForAnyone { return }
        let principal = try caller(call)
        call.attach(principal)
        if !principal.isService && isRelayed(call) { call.attach(RelayedCall()) }
    }

    /// Stands behind the limits, and lets through whose role allows a method.
    private struct Judge: ServerInterceptor {
        let access: RPCAccess

        func intercept(_ call: InterceptedCall) throws(RPCError) { try access.judge(call) }
    }

    private func judge(_ call: InterceptedCall) throws(RPCError) {
        let right = rights[call.method]
        if right.isForAnyone { return }
        guard let principal = call[Principal.self] else { throw .unauthenticated("Nobody has said who calls.") }
        let isRelayed = call[RelayedCall.self] != nil
        guard right.allows(principal) else {
            authenticator.metrics.refused("scope")
            let refusal = RPCError.insufficientScope(right.roles.union(right.isInternal ? [.service] : [.operator]))
            if !isRelayed { audit?.refused(call, principal, refusal) }
            throw refusal
        }
        if !isRelayed { audit?.follow(call, principal, right) }
        // Another service ends its streams itself, and its token is replaced every few minutes.
        if !call.isUnary, !principal.isService { streams.add(call, principal) }
    }

    private func caller(_ call: InterceptedCall) throws(RPCError) -> Principal {
        let (count, result) = call.withValue(of: "authorization") { principal($0, call) }
        if count > 1 { throw .invalidRequest("authorization is given more than once; give it once.") }
        if let result { return try result.get() }
        if let certificate = call.peerCertificate, let service = ServiceName(certificate) {
            return Principal(service, expires: .max)
        }
        authenticator.metrics.refused("missing")
        throw .unauthenticated("This is for those who say who they are: authorization: Bearer TOKEN.")
    }

    /// Whether the gateway proves that it passes this call on. A proof that is none is no harm: the call is then its client's own.
    private func isRelayed(_ call: InterceptedCall) -> Bool {
        if let certificate = call.peerCertificate, ServiceName(certificate) == .gateway { return true }
        let proof = call.withValue(of: RelayedCall.key) { value -> Principal? in
            guard let token = BearerScheme.token(in: value), ServiceSecret.isServiceToken(token) else { return nil }
            return try? authenticator.principal(of: token)
        }.result
        guard let relay = proof ?? nil else { return false }
        return relay.isService && relay.subject == ServiceName.gateway.rawValue
    }

    /// Whom a token stands for. One that is new costs a verification, good or not: an address may bring so many, and only the
    /// gateways' calls, which have been counted there by who asked, are verified however many others come.
    private func principal(_ value: Span<UInt8>, _ call: InterceptedCall) -> Result<Principal, RPCError> {
        guard let token = BearerScheme.token(in: value) else {
            return .failure(.unauthenticated("authorization has another scheme than Bearer, or nothing behind it."))
        }
        if let principal = authenticator.recall(token) { return .success(principal) }
        let isCounted = ServiceSecret.isServiceToken(token) || isRelayed(call)
        if !isCounted, let limits {
            do throws(RPCError) { try limits.takeToken(of: call) } catch { return .failure(error) }
        }
        do throws(Authenticator.Failure) {
            return .success(try authenticator.verify(token, isBudgeted: !isCounted))
        } catch {
            switch error {
            case .refused(let refusal): return .failure(.invalidToken(refusal))
            case .busy: return .failure(.authenticationBusy("Too many new tokens come at once; try again in a moment."))
            case .issuerAway: return .failure(.authenticationBusy("The keys of the token's issuer can't be had now."))
            case .keyMayBeNew(let issuer):
                // The caller asks again; by then the answer is there.
                let issuers = issuers
                authenticator.loop.start { await issuers?.refetch(issuer.name) }
                return .failure(.authenticationBusy("The keys of the token's issuer are being fetched; try again."))
            }
        }
    }
}

extension ServiceName {
    /// The service whose certificate it is: the first label of a name in it, as in `gateway` or `gateway.cabstand.svc`. The
    /// authorities that are believed are the installation's own (`CABSTAND_TLS_CA`): they know whom they call so.
    init?(_ certificate: TLSPeerCertificate) {
        var found: ServiceName?
        for host in certificate.dnsNames {
            for name in ServiceName.allCases where host.prefix(while: { $0 != "." }) == name.rawValue {
                // A certificate of two services would be whichever is asked for.
                guard found == nil || found == name else { return nil }
                found = name
            }
        }
        guard let found else { return nil }
        self = found
    }
}

/// The streams that are open, by the second when their token ends. One timer, and few bytes for each. Belongs to its loop.
private final class OpenStreams {
    private struct Second {
        var streams: [(call: InterceptedCall, principal: Principal)] = []
        /// How many there may be before the closed ones are looked for.
        var limit = 64
    }

    private let loop: EventLoop
    /// By the Unix second.
    private var due: [Int64: Second] = [:]
    private var timer: TimerID?

    /// Nanoseconds between two looks.
    private static let look: UInt64 = 1_000_000_000

    init(loop: EventLoop) { self.loop = loop }

    func add(_ call: InterceptedCall, _ principal: Principal) {
        var second = due.removeValue(forKey: principal.expires) ?? Second()
        if second.streams.count >= second.limit {
            second.streams.removeAll { !$0.call.isOpen }
            second.limit = max(64, 2 * second.streams.count)
        }
        second.streams.append((call, principal))
        due[principal.expires] = second
        if timer == nil { timer = loop.schedule(every: Self.look) { [weak self] in self?.endExpired() } }
    }

    func end(_ error: RPCError, where isGone: (Principal) -> Bool) {
        end(due.values.flatMap { $0.streams.filter { isGone($0.principal) }.map(\.call) }, error)
    }

    private func endExpired() {
        let now = loop.wallClockMilliseconds / 1000
        let expired = due.keys.filter { $0 <= now }.flatMap { due.removeValue(forKey: $0)?.streams ?? [] }
        end(expired.map(\.call), .invalidToken(.expired))
        guard due.isEmpty, let timer else { return }
        loop.cancel(timer)
        self.timer = nil
    }

    private func end(_ calls: [InterceptedCall], _ error: RPCError) {
        // One that has ended is gone.
        loop.inPortions(below: UInt32(clamping: calls.count)) { calls[Int($0)].end(error) }
    }
}

// MARK: Refusals

/// The same codes and words as at the gateway; `www_authenticate` says how to come (RFC 6750 §3).
extension RPCError {
    private static func refusal(_ code: StatusCode, _ reason: String, _ detail: String, _ challenge: String) -> RPCError
    {
        RPCError(
            ProblemDetails(
                code: reason, detail: detail, metadata: ["www_authenticate": "Bearer realm=\"cabstand\"\(challenge)"]),
            code: code)
    }

    /// No token was sent: the challenge has no error code.
    static func unauthenticated(_ detail: String) -> RPCError {
        refusal(.unauthenticated, "unauthenticated", detail, "")
    }

    static func invalidRequest(_ detail: String) -> RPCError {
        refusal(.invalidArgument, "invalid-request", detail, ", error=\"invalid_request\"")
    }

    static func invalidToken(_ refusal: TokenRefusal) -> RPCError {
        self.refusal(
            .unauthenticated, "invalid-token", "\(refusal)",
            ", error=\"invalid_token\", error_description=\"\(refusal)\"")
    }

    fileprivate static func authenticationBusy(_ detail: String) -> RPCError {
        RPCError(
            ProblemDetails(code: "authentication-busy", detail: detail, retryAfter: 1_000), code: .unavailable)
    }

    static func insufficientScope(_ roles: Roles) -> RPCError {
        let words = roles.words
        return refusal(
            .permissionDenied, "insufficient-scope", "This is for \(words.joined(separator: " or ")) only.",
            ", error=\"insufficient_scope\", scope=\"\(words.joined(separator: " "))\"")
    }
}
