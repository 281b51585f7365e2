import HTTPClient
import Operations
import Reactor
import Settings
import Telemetry

/// Where simulated drivers sign in, and whom they take for it.
struct SimulatorGateway {
    let origin: HTTPOrigin
    /// nil: it speaks plain HTTP.
    private let tls: TLSClientContext?

    /// What the settings say, or the program's own gateway; nil: nobody is asked who they are.
    ///
    /// - Throws: `SimulatorSettingError`, with the setting that helps; `TLSError` if trusted certificates can't be read.
    static func of(_ settings: ProgramSettings, own: SocketAddress?) throws -> SimulatorGateway? {
        guard settings.auth == "required" else { return nil }
        guard !settings.serviceSecret.isEmpty || !settings.tlsCert.isEmpty && !settings.tlsCA.isEmpty else {
            throw SimulatorSettingError(
                description:
                    "\(settings.variable(\.auth)) is required, and a simulator could not prove that it may sign drivers in: give "
                    + "\(settings.variable(\.serviceSecret)) the file that all services have, or all certificates.")
        }
        if settings.gateway.isEmpty, let own { return try Self(ofThisProgram: own, settings) }
        guard let url = try? HTTPURL(settings.gateway), url.target == "/",
            !settings.gateway.utf8.contains(UInt8(ascii: "#"))
        else {
            throw SimulatorSettingError(
                description:
                    "\(settings.variable(\.gateway)): \"\(settings.gateway)\" is no address of http or https without a path, such as "
                    + "http://127.0.0.1:8080; simulated drivers sign in there.")
        }
        return Self(
            origin: url.origin,
            tls: url.origin.isSecure
                ? try TLSClientContext(trustedPath: settings.tlsCA.isEmpty ? nil : settings.tlsCA, alpn: ["http/1.1"])
                : nil)
    }

    private init(origin: HTTPOrigin, tls: TLSClientContext?) {
        self.origin = origin
        self.tls = tls
    }

    /// Its certificate is for the name that others call it by, and it is known by its address: that of this process.
    private init(ofThisProgram address: SocketAddress, _ settings: ProgramSettings) throws {
        guard settings.proxyProtocol == "off" else {
            throw SimulatorSettingError(
                description:
                    "\(settings.variable(\.proxyProtocol)) is required, so simulated drivers can't come to the program's own port: "
                    + "\(settings.variable(\.gateway)) names the proxy's address.")
        }
        let isSecure = !settings.tlsCert.isEmpty
        origin = try HTTPURL("http\(isSecure ? "s" : "")://\(address.reachableHere)").origin
        tls = isSecure ? try TLSClientContext(trustingAnyone: ["http/1.1"]) : nil
    }

    /// Asks it, on a loop.
    func client(on loop: EventLoop) -> HTTPClient { HTTPClient(loop: loop, tls: tls, userAgent: "cabstand-simulator") }

    /// Reads trusted certificates again, blocking. Those that can't be read are named in the log, and the ones before stay in force.
    func reload() {
        guard let tls else { return }
        do throws(TLSError) {
            try tls.reload()
        } catch {
            Logger(label: "simulator").error(
                "the gateway's authorities can't be read again; those before stay in force",
                metadata: ["error": "\(error)"])
        }
    }
}

/// Why simulated drivers can't sign in, with the setting that helps.
struct SimulatorSettingError: Error, CustomStringConvertible {
    let description: String
}
