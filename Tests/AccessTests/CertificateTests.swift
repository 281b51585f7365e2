import GRPCRuntime
import Reactor
import RideAPI
import Settings
import TestSupport
import Testing

@testable import Access
@testable import Operations

#if canImport(Glibc)
    import Glibc
#endif

/// Services that know each other by certificates, and what is replaced while they run.
@Suite(.serialized, .enabled(if: Tool.find("openssl") != nil, "needs openssl")) struct CertificateTests {
    /// What an operator gives each program: files behind a link, as Kubernetes mounts a secret.
    private final class Mount {
        let folder = TemporaryFolder()
        private var version = 0

        /// Sets the link to new certificates: `ca.pem`, and for each service a pair.
        func put(_ authority: TestCertificate, believed: [TestCertificate]) {
            version += 1
            let name = "version-\(version)"
            unsafe mkdir(folder.file(name), 0o700)
            folder.write("\(name)/ca.pem", believed.map { TemporaryFolder.read($0.certificatePath) }.joined())
            for service in ServiceName.allCases {
                let certificate = TestCertificate(
                    service.rawValue, names: "DNS:\(service),DNS:localhost,IP:127.0.0.1", signedBy: authority)
                folder.write("\(name)/\(service).pem", TemporaryFolder.read(certificate.certificatePath))
                folder.write("\(name)/\(service)-key.pem", TemporaryFolder.read(certificate.keyPath))
            }
            unsafe symlink(name, folder.file("..new"))
            unsafe rename(folder.file("..new"), folder.file("..data"))
        }

        func settings(_ service: ServiceName) -> [String: String] {
            [
                "CABSTAND_TLS_CERT": folder.file("..data/\(service).pem"),
                "CABSTAND_TLS_KEY": folder.file("..data/\(service)-key.pem"),
                "CABSTAND_TLS_CA": folder.file("..data/ca.pem"),
            ]
        }

        /// As the gateway has it.
        func gateway(_ more: [String: String] = [:]) throws -> ServiceIdentity {
            guard
                case .run(let values) = try SettingsDeclaration.gateway.read(
                    arguments: [], environment: settings(.gateway).merging(more) { $1 })
            else { preconditionFailure("a help text was not asked for") }
            return try ServiceIdentity(.gateway, settings: values)
        }
    }

    private func areas(_ caller: Caller) -> String {
        caller.refusal {
            $0.drivers.listDriversInAreas(
                .init(areas: [.init(west: 13, south: 53, east: 14, north: 54)]),
                options: CallOptions(timeout: .seconds(5)), $1)
        }
    }

    private func options(
        trusting authority: TestCertificate?, as certificate: TestCertificate?
    ) throws -> ChannelOptions {
        var options = ChannelOptions.betweenServices
        options.tls = try TLSClientContext(
            trustedPath: authority?.certificatePath,
            identity: certificate.map { TLSIdentity(certificatePath: $0.certificatePath, keyPath: $0.keyPath) },
            alpn: ["h2"])
        return options
    }

    @Test func aServiceIsWhoItsCertificateNamesAndNobodyElseGetsAnywhere() throws {
        let authority = TestCertificate("authority")
        let mount = Mount()
        mount.put(authority, believed: [authority])
        let house = try House(settings: ["CABSTAND_SERVICE_SECRET": ""]) { mount.settings($0) }
        defer { house.close() }
        let gateway = try mount.gateway()
        #expect(areas(house.caller(nil, options: gateway.channelOptions(on: house.loop))) == "OK")
        // By the same authorities, and without a word of who it is: for calls by somebody's token.
        #expect(
            areas(house.caller(nil, options: gateway.strangerChannelOptions)) == "UNAUTHENTICATED unauthenticated")
        let olga = house.token("olga", .operator)
        #expect(areas(house.caller(olga, options: gateway.strangerChannelOptions)) == "OK")
        // Another service's certificate is another service's.
        func certificate(_ names: String, _ signer: TestCertificate?, days: Int = 2) -> TestCertificate {
            TestCertificate("gateway", names: names, signedBy: signer, days: days)
        }
        func answer(_ certificate: TestCertificate?) throws -> String {
            areas(house.caller(nil, options: try options(trusting: authority, as: certificate)))
        }
        #expect(try answer(certificate("DNS:gateway.cabstand.svc", authority)) == "OK")
        #expect(try answer(certificate("DNS:trip", authority)) == "PERMISSION_DENIED insufficient-scope")
        for foreign in [
            "DNS:billing", "DNS:trip,DNS:gateway", "DNS:my-gateway", "URI:spiffe://gateway", "IP:127.0.0.1",
        ] {
            #expect(try answer(certificate(foreign, authority)) == "UNAUTHENTICATED unauthenticated", "\(foreign)")
        }
        #expect(try answer(nil) == "UNAUTHENTICATED unauthenticated")
        let stranger = TestCertificate("authority")
        for refused in [
            certificate("DNS:gateway", nil), certificate("DNS:gateway", stranger),
            certificate("DNS:gateway", authority, days: -1),
        ] {
            #expect(try answer(refused).hasPrefix("UNAVAILABLE"))
        }
        #expect(areas(house.caller(nil)).hasPrefix("UNAVAILABLE"), "in the clear")
        // Apps of riders have no certificate, and the trip service shows the driver service its own.
        let boss = house.caller(house.token("boss", .operator), options: try options(trusting: authority, as: nil))
        let vehicle = Driver_V1_Vehicle(make: "VW", model: "Up", color: "red", plate: "NB-A 1", category: "standard")
        #expect(
            boss.refusal {
                $0.drivers.registerDriver(.init(id: "d", name: "Ada", vehicle: vehicle, lat: 53.5, lon: 13.2), $1)
            } == "OK")
        let ada = house.caller(house.token("ada", .rider), options: try options(trusting: authority, as: nil))
        let place = Trip_V1_Place(lat: 53.5, lon: 13.2)
        #expect(
            ada.refusal { $0.trips.createTrip(.init(riderID: "ada", pickup: place, dropoff: place), $1) } == "OK")
    }

    @Test func aServerThatIsNotTheOneIsNotCalled() throws {
        let authority = TestCertificate("authority")
        let mount = Mount()
        mount.put(authority, believed: [authority])
        let loop = try EventLoop()
        let options = try mount.gateway().channelOptions(on: loop)
        func answer(_ certificate: TestCertificate) throws -> StatusCode? {
            let server = GRPCServer(loop: loop, registry: ServiceRegistry())
            let context = try TLSServerContext(
                certificatePath: certificate.certificatePath, keyPath: certificate.keyPath)
            let address = try server.listen(.loopback(port: 0), tls: context).localAddress
            let channel = GRPCChannel(loop: loop, target: "\(address)", options: options)
            var code: StatusCode?
            Grpc_Health_V1_HealthClient(channel: channel).check(.init(), options: CallOptions(timeout: .seconds(5))) {
                switch $0 {
                case .success: code = .ok
                case .failure(let error): code = error.code
                }
            }
            let limit = ContinuousClock.now + .seconds(20)
            while code == nil, ContinuousClock.now < limit {
                let timer = loop.schedule(after: 50_000_000) {}
                loop.turn()
                loop.cancel(timer)
            }
            channel.close()
            server.close()
            return code
        }
        let names = "DNS:driver,IP:127.0.0.1"
        #expect(try answer(TestCertificate("driver", names: names, signedBy: authority)) == .ok)
        for wrong in [
            TestCertificate("driver", names: "DNS:driver", signedBy: authority),
            TestCertificate("driver", names: names, signedBy: authority, days: -1),
            TestCertificate("driver", names: names),
            TestCertificate("driver", names: names, signedBy: TestCertificate("authority")),
        ] {
            #expect(try answer(wrong) == .unavailable)
        }
    }

    @Test func certificatesAndTheirAuthorityAreReplacedUnderLoadAndNoCallFails() throws {
        let (old, new) = (TestCertificate("old authority"), TestCertificate("new authority"))
        let mount = Mount()
        mount.put(old, believed: [old])
        let house = try House(settings: ["CABSTAND_SERVICE_SECRET": ""]) { mount.settings($0) }
        defer { house.close() }
        let gateway = try mount.gateway()
        let load = Load(house) { gateway.channelOptions(on: $0) }
        let watched = WatchedFiles(gateway.files)
        load.run(calls: 200)
        // First both are believed, then certificates are the new one's, then the old one is forgotten.
        for (authority, believed) in [(old, [old, new]), (new, [new, old]), (new, [new])] {
            mount.put(authority, believed: believed)
            #expect(watched.haveChanged())
            house.driver.reload()
            load.run(calls: 50)
            gateway.reload()
            house.trip.reload()
            load.run(calls: 200)
        }
        #expect(load.failures == [])
        // What connects anew meets the new ones, and the old are worth nothing.
        func answer(_ authority: TestCertificate) throws -> String {
            let certificate = TestCertificate("gateway", names: "DNS:gateway", signedBy: authority)
            return areas(house.caller(nil, options: try options(trusting: authority, as: certificate)))
        }
        #expect(try answer(new) == "OK")
        #expect(try answer(old).hasPrefix("UNAVAILABLE"))
    }

    @Test func filesThatCantBeUsedChangeNothing() throws {
        let authority = TestCertificate("authority")
        let mount = Mount()
        mount.put(authority, believed: [authority])
        let house = try House { mount.settings($0) }
        defer { house.close() }
        let gateway = try mount.gateway(["CABSTAND_SERVICE_SECRET": house.folder.file("secret")])
        // A key without its certificate, an authority that is none, a secret that is too short, no key of tokens.
        mount.folder.copy("..data/trip-key.pem", "..data/driver-key.pem")
        mount.folder.copy("..data/trip-key.pem", "..data/gateway-key.pem")
        mount.folder.write("..data/ca.pem", "nobody")
        house.folder.write("secret", "short")
        house.folder.write("key.pem", "none")
        house.driver.reload()
        gateway.reload()
        #expect(areas(house.caller(nil, options: gateway.channelOptions(on: house.loop))) == "OK")
        let boss = house.caller(house.token("boss", .operator), options: try options(trusting: authority, as: nil))
        #expect(boss.refusal { $0.drivers.listDrivers(.init(), $1) } == "OK")
    }

    @Test func theSecretIsReplacedUnderLoadAndNoCallFails() throws {
        let house = try House()
        defer { house.close() }
        guard
            case .run(let values) = try SettingsDeclaration.gateway.read(
                arguments: [], environment: ["CABSTAND_SERVICE_SECRET": house.folder.file("secret")])
        else { preconditionFailure("a help text was not asked for") }
        let gateway = try ServiceIdentity(.gateway, settings: values)
        let load = Load(house) { gateway.channelOptions(on: $0) }
        load.run(calls: 200)
        let old = TemporaryFolder.read(house.folder.file("secret"))
        let new = String(repeating: "new secret ", count: 4) + "\n"
        for text in [old + new, new + old, new] {
            house.folder.write("secret", text)
            // The programs notice one after the other.
            gateway.reload()
            load.run(calls: 50)
            house.driver.reload()
            house.trip.reload()
            load.run(calls: 200)
        }
        #expect(load.failures == [])
        let stale = try #require(
            ServiceSecret([Array(old.dropLast().utf8)]).token(
                for: .gateway, at: house.loop.wallClockMilliseconds / 1000)
        ).text
        #expect(areas(house.caller(stale)) == "UNAUTHENTICATED invalid-token")
    }

    @Test func anExpiryIsThatOfTheFirstOfTheChain() throws {
        let authority = TestCertificate("authority", days: 1)
        let certificate = TestCertificate("driver", signedBy: authority, days: 9)
        let folder = TemporaryFolder()
        let chain = folder.write(
            "chain.pem",
            TemporaryFolder.read(certificate.certificatePath) + TemporaryFolder.read(authority.certificatePath))
        func days(_ path: String) throws -> Double {
            let context = try TLSServerContext(certificatePath: path, keyPath: certificate.keyPath)
            return Double(try #require(context.certificateExpiry) - Int64(time(nil))) / 86_400
        }
        #expect(try abs(days(certificate.certificatePath) - 9) < 0.1)
        #expect(try abs(days(chain) - 1) < 0.1)
        #expect(try TLSClientContext(trustingAnyone: ["h2"]).certificateExpiry == nil)
    }

    /// While authorities are changed there are two of them, and the older one may go.
    @Test func theExpiryOfAuthoritiesIsThatOfTheLast() throws {
        let folder = TemporaryFolder()
        let old = TestCertificate("old", days: 1)
        let new = TestCertificate("new", days: 9)
        func days(_ context: TLSClientContext) throws -> Double {
            Double(try #require(context.authoritiesExpiry) - Int64(time(nil))) / 86_400
        }
        let path = folder.write("ca.pem", TemporaryFolder.read(old.certificatePath))
        let context = try TLSClientContext(trustedPath: path, alpn: ["h2"])
        #expect(try abs(days(context) - 1) < 0.1)
        _ = folder.write(
            "ca.pem", TemporaryFolder.read(old.certificatePath) + TemporaryFolder.read(new.certificatePath))
        try context.reload()
        #expect(try abs(days(context) - 9) < 0.1)
        #expect(try TLSClientContext(trustingAnyone: ["h2"]).authoritiesExpiry == nil)
        #expect(try TLSClientContext(alpn: ["h2"]).authoritiesExpiry == nil)
    }
}

/// A service that asks all the time, on one channel, and on a new one after each run.
private final class Load {
    private let house: House
    private let options: (EventLoop) -> ChannelOptions
    private var callers: [Caller] = []
    private var open = 0
    private var started = 0
    private(set) var failures: [String] = []

    init(_ house: House, options: @escaping (EventLoop) -> ChannelOptions) {
        self.house = house
        self.options = options
    }

    /// So many calls, eight at a time.
    func run(calls: Int) {
        callers.append(house.caller(nil, options: options(house.loop)))
        started = 0
        for _ in 0..<8 { next(calls) }
        house.turn { self.open == 0 && self.started == calls }
    }

    private func next(_ calls: Int) {
        guard started < calls else { return }
        let caller = callers[started % callers.count]
        started += 1
        open += 1
        caller.drivers.findAvailableDrivers(.init(), options: CallOptions(timeout: .seconds(10))) { [self] result in
            open -= 1
            if case .failure(let error) = result { failures.append("\(error)") }
            next(calls)
        }
    }
}
