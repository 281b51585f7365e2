import Access
import HTTPServer
import JSONWire

/// What others have to know of this gateway's tokens (RFC 8615), on one loop. For everybody.
final class WellKnownRoutes {
    private let access: AccessControl
    private let externalURL: String?

    /// - Parameter externalURL: the name under which the gateway is asked; nil: that of each request.
    init(access: AccessControl, externalURL: String? = nil) {
        self.access = access
        self.externalURL = externalURL
    }

    /// Adds the routes.
    func register(on router: Router) {
        router.get("/.well-known/jwks.json", keys)
        router.get("/.well-known/oauth-protected-resource", resource)
    }

    /// What others verify this installation's own tokens with (RFC 7517 §5).
    private func keys(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        guard let set = access.configuration.keySet else { throw .madeElsewhere }
        responder.respond(200, "application/jwk-set+json", fields: ["Cache-Control": "max-age=600"]) {
            $0.append(utf8: set)
        }
    }

    /// Whose tokens are taken here, and how (RFC 9728 §2). The resource is this gateway under its own name, or
    /// else under that by which it was asked.
    private func resource(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) {
        let host = request.text("host") ?? ""
        let root = externalURL ?? "\(request.isSecure ? "https" : "http")://\(host)"
        let configuration = access.configuration
        responder.respond(200, "application/json", fields: ["Cache-Control": "max-age=600"]) { output in
            output.beginJSONObject()
            output.appendJSON("resource", string: root)
            // RFC 8414 §2: an issuer that can be asked has an address; ours is this gateway itself. RFC 9728 §3.2: no empty list.
            let issuers = configuration.verifier.issuerNames.filter { $0.hasPrefix("https://") }
            if !issuers.isEmpty { output.appendJSON("authorization_servers", strings: issuers) }
            if configuration.keySet != nil { output.appendJSON("jwks_uri", string: root + "/.well-known/jwks.json") }
            output.appendJSON("scopes_supported", strings: Role.ofTokens.map(\.rawValue))
            output.appendJSON("bearer_methods_supported", strings: ["header"])
            output.appendJSON("resource_name", string: "Cabstand")
            output.endJSONObject()
        }
    }
}
