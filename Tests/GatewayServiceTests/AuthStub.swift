import GRPCRuntime
import ProtobufWire
import Reactor
import RideAPI

/// `auth.v1.AuthService` for one test: it remembers what it gave out, and nothing of time.
final class AuthStub: Auth_V1_AuthServiceHandler {
    private var sessions: [String: Auth_V1_Identity] = [:]
    private var used: Set<String> = []
    private var codes: [String: String] = [:]
    private var tickets: [String: Auth_V1_CreateTicketRequest] = [:]
    private(set) var revoked: [Auth_V1_RevokeRequest] = []
    private var count = 0

    private func secret(_ kind: String) -> String {
        count += 1
        return "\(kind)-\(count)"
    }

    private func begin(_ identity: Auth_V1_Identity, _ loop: EventLoop) -> Auth_V1_Session {
        let token = secret("refresh")
        sessions[token] = identity
        return Auth_V1_Session(
            id: token, identity: identity, refreshToken: token,
            expiresAt: Google_Protobuf_Timestamp(seconds: 4_000_000_000),
            issuedAt: Google_Protobuf_Timestamp(unixMilliseconds: loop.wallClockMilliseconds))
    }

    private func refusal(_ code: String) -> RPCError {
        .domain(.unauthenticated, ProblemDetails(code: code, detail: "It is not good any more."))
    }

    func createSession(_ request: Auth_V1_CreateSessionRequest, _ call: UnaryServerCall<Auth_V1_CreateSessionResponse>)
    {
        call.respond(Auth_V1_CreateSessionResponse(session: begin(request.identity ?? Auth_V1_Identity(), call.loop)))
    }

    func refreshSession(
        _ request: Auth_V1_RefreshSessionRequest, _ call: UnaryServerCall<Auth_V1_RefreshSessionResponse>
    ) {
        if used.contains(request.refreshToken) { return call.fail(refusal("refresh-token-reused")) }
        guard let identity = sessions.removeValue(forKey: request.refreshToken) else {
            return call.fail(refusal("refresh-token-invalid"))
        }
        used.insert(request.refreshToken)
        call.respond(Auth_V1_RefreshSessionResponse(session: begin(identity, call.loop)))
    }

    func endSession(_ request: Auth_V1_EndSessionRequest, _ call: UnaryServerCall<Auth_V1_EndSessionResponse>) {
        sessions[request.refreshToken] = nil
        call.respond(Auth_V1_EndSessionResponse())
    }

    func createEnrolment(
        _ request: Auth_V1_CreateEnrolmentRequest, _ call: UnaryServerCall<Auth_V1_CreateEnrolmentResponse>
    ) {
        let code = secret("code")
        codes[code] = request.driverID
        call.respond(
            Auth_V1_CreateEnrolmentResponse(code: code, expiresAt: Google_Protobuf_Timestamp(seconds: 4_000_000_000)))
    }

    func redeemEnrolment(
        _ request: Auth_V1_RedeemEnrolmentRequest, _ call: UnaryServerCall<Auth_V1_RedeemEnrolmentResponse>
    ) {
        guard let driver = codes.removeValue(forKey: request.code) else {
            return call.fail(refusal("enrolment-invalid"))
        }
        let identity = Auth_V1_Identity(subject: driver, roles: ["driver"])
        call.respond(Auth_V1_RedeemEnrolmentResponse(session: begin(identity, call.loop)))
    }

    func createTicket(_ request: Auth_V1_CreateTicketRequest, _ call: UnaryServerCall<Auth_V1_CreateTicketResponse>) {
        let ticket = secret("ticket")
        tickets[ticket] = request
        call.respond(
            Auth_V1_CreateTicketResponse(ticket: ticket, expiresAt: Google_Protobuf_Timestamp(seconds: 4_000_000_000)))
    }

    func redeemTicket(_ request: Auth_V1_RedeemTicketRequest, _ call: UnaryServerCall<Auth_V1_RedeemTicketResponse>) {
        guard let ticket = tickets.removeValue(forKey: request.ticket), ticket.path == request.path else {
            return call.fail(refusal("ticket-invalid"))
        }
        call.respond(
            Auth_V1_RedeemTicketResponse(
                identity: ticket.identity, tokenExpiresAt: ticket.tokenExpiresAt, tokenID: ticket.tokenID,
                tokenIssuedAt: ticket.tokenIssuedAt))
    }

    func revoke(_ request: Auth_V1_RevokeRequest, _ call: UnaryServerCall<Auth_V1_RevokeResponse>) {
        revoked.append(request)
        call.respond(Auth_V1_RevokeResponse(revokedAt: Google_Protobuf_Timestamp(seconds: 1_700_000_000)))
    }
}
