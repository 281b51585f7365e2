import HTTP1
import Operations
import Settings
import Testing

@testable import GatewayService

/// What the operator says of who may come in.
@Suite struct DoorsTests {
    private func doors(_ environment: [String: String]) throws -> Doors {
        let outcome = try SettingsDeclaration.gateway.read(arguments: [], environment: environment)
        guard case .run(let settings) = outcome else { throw GatewayStartError(description: "nothing to run") }
        return try Doors(settings)
    }

    private func knows(_ host: String, _ environment: [String: String]) throws -> Bool {
        try doors(environment).hosts.knows(Array(host.utf8).span)
    }

    /// DNS rebinding: a page whose host was made to lead to 127.0.0.1 is of the same origin as what listens there.
    @Test func whatListensOnLoopbackKnowsItsNames() throws {
        for address in ["127.0.0.1", "::1", "127.1.2.3"] {
            let local = ["CABSTAND_BIND": address]
            #expect(try knows("localhost:8080", local))
            #expect(try knows("127.0.0.1:8080", local))
            #expect(try !knows("evil.example:8080", local))
            let named = local.merging(["CABSTAND_ALLOWED_ORIGINS": "https://cars.example"]) { $1 }
            #expect(try knows("cars.example", named))
            #expect(try !knows("evil.example", named))
            #expect(try knows("evil.example", local.merging(["CABSTAND_ALLOWED_ORIGINS": "*"]) { $1 }))
        }
        for address in ["0.0.0.0", "::", "10.0.0.1"] {
            #expect(try knows("cars.example", ["CABSTAND_BIND": address]))
        }
    }

    /// A header that anybody could send, and a health check that has none.
    @Test func headersOfProxiesNeedProxiesAndAPortForHealth() throws {
        var environment = ["CABSTAND_PROXY_PROTOCOL": "required"]
        for (variable, text) in [("CABSTAND_TRUSTED_PROXIES", "10.0.0.0/8"), ("CABSTAND_ADMIN_PORT", "8081")] {
            let error = #expect(throws: GatewayStartError.self) { try doors(environment) }
            #expect(error?.description.contains(variable) == true)
            environment[variable] = text
        }
        #expect(try doors(environment).proxyProtocol)
    }

    @Test(arguments: [
        ("CABSTAND_ALLOWED_ORIGINS", "cars.example"), ("CABSTAND_ALLOWED_ORIGINS", "https://*.cars.example"),
        ("CABSTAND_TRUSTED_PROXIES", "proxy"), ("CABSTAND_TRUSTED_PROXIES", "10.0.0.0/64"),
    ])
    func whatCouldMatchNobodyIsRefusedByName(variable: String, text: String) {
        let error = #expect(throws: GatewayStartError.self) { try doors([variable: text]) }
        #expect(error?.description.hasPrefix("\(variable): \"\(text)\"") == true)
    }
}
