// The parts of the gateway are its own: they can be reached in debug builds and in the fuzzing program (Package.swift).
#if TESTABLE
    import Bytes
    import GRPCRuntime
    import HTTPServer
    import Reactor
    import ReactorSim
    import RideAPI
    import RideDomain
    import WebSocketServer
    import WebSockets

    @testable import GatewayService

    /// The whole gateway with its live feed: viewers that come, change their views, read nothing and go, drivers' apps and
    /// bookings, against services that answer at once, late, wrongly or never, and that are killed and started again.
    func fuzzGateway(_ bytes: [UInt8]) throws {
        var input = FuzzInput(bytes)
        let attack = try GatewayAttack(&input)
        while !input.isEmpty { try attack.step(&input) }
        try attack.end()
    }

    private final class GatewayAttack {
        private let world: FuzzWorld
        private let services: FuzzServices
        private let feed: DriverFeed
        private let live: LiveEndpoints
        private let backends: Backends
        private let server: HTTPServer
        private let address: SocketAddress
        private var isDraining = false
        private var drained = 0

        init(_ input: inout FuzzInput) throws {
            world = try FuzzWorld(&input)
            let choices = input.byte()
            var limits = FeedLimits()
            // Short lists of few viewers are compressed, too.
            var deflate = DeflateOptions()
            deflate.minimumSharedSize = 100
            deflate.minimumTakers = 1
            if choices & 1 != 0 {
                limits.views = 3
                limits.units = 20
                limits.tilesPerView = 8
                limits.driversPerView = 4
                limits.tilesPerCall = 4
                limits.workPerTurn = 16
            }
            if choices & 2 != 0 { limits.frameBytes = 2000 }
            services = try FuzzServices(world.network)
            let loop = world.loop
            let target = "127.0.0.1:50051"
            backends = Backends(loop: loop, driverService: target, tripService: target, timeout: 5_000_000_000)
            feed = DriverFeed(
                loop: loop, source: DriverServiceAreas(client: backends.drivers, timeout: 2_000_000_000),
                cars: DriverServiceCars(client: backends.drivers, timeout: 2_000_000_000),
                configuration: .init(limits: limits))
            live = LiveEndpoints(
                link: FeedLink.links(feed, loops: [loop])[0].value, drivers: backends.drivers, trips: backends.trips,
                configuration: .init(limits: limits, deflate: deflate))
            let router = Router()
            let api = GuardedRoutes(router.group())
            live.register(on: api)
            DriverRoutes(backends: backends).register(on: api)
            TripRoutes(backends: backends).register(on: api)
            server = HTTPServer(loop: loop, router: router)
            address = try server.listen(.loopback(port: 8080)).localAddress
        }

        func step(_ input: inout FuzzInput) throws {
            let operation = input.choice(24)
            switch operation {
            case 0, 1, 2: come(&input)
            case 3, 4: try world.wait(&input)
            case 5, 6: move(&input)
            case 7, 8, 9: services.act(&input)
            case 10: trigger(&input)
            case 11: end(&input)
            default: if let peer = world.peer(&input) { speak(operation, peer, &input) }
            }
            try world.settle()
        }

        // MARK: What clients do

        private static let upgrade =
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

        private static let paths = [
            "/ws/drivers/available?lat=53.55&lon=13.25&radius_m=5000", "/ws/drivers/available",
            "/ws/drivers/available?lat=53.55&lon=13.25&radius_m=50000&limit=2&interval_ms=1000",
            "/ws/drivers/available?min_lat=50&min_lon=10&max_lat=56&max_lon=16", "/ws/drivers/available?lat=x",
            "/ws/trips/trip0", "/ws/trips/none", "/ws/drivers/car0/location", "/ws/drivers/none/location",
        ]

        private func come(_ input: inout FuzzInput) {
            let choice = input.byte()
            world.connect(to: address)
            guard let peer = world.peers.last else { return }
            // The request's identifier comes back, and to nobody else.
            let fields = "Host: a\r\nx-request-id: \(peer.secret.dropFirst().dropLast())\r\n"
            switch choice % 12 {
            case 9:
                let body = "{\"rider_id\":\"r\(choice >> 5)\",\"pickup\":\(Self.place(1)),\"dropoff\":\(Self.place(2))}"
                peer.send("POST /trips HTTP/1.1\r\n\(fields)Content-Length: \(body.utf8.count)\r\n\r\n\(body)")
            case 10: peer.send("GET /drivers/available?limit=2 HTTP/1.1\r\n\(fields)\r\n")
            case 11: peer.send("GET /trips/trip\(choice >> 6) HTTP/1.1\r\n\(fields)\r\n")
            default:
                peer.send("GET \(Self.paths[Int(choice % 12)]) HTTP/1.1\r\n\(fields)\(Self.upgrade)\r\n")
                if choice & 0x80 != 0 { say(peer, "{\"type\":\"ping\"}") }
            }
        }

        private static func place(_ number: Int) -> String { "{\"lat\":53.\(number),\"lon\":13.\(number)}" }

        private func speak(_ operation: Int, _ peer: HostilePeer, _ input: inout FuzzInput) {
            switch operation {
            case 12, 13: world.misbehave(peer, &input)
            case 14: peer.end.send(input.run())
            case 15: say(peer, "{\"type\":\"ping\"}")
            case 16, 17: say(peer, view(input.byte()))
            case 18:
                say(peer, "{\"lat\":53.\(input.byte()),\"lon\":13.25,\"at\":\(1_700_000_000_000 + Int(input.byte()))}")
            case 19: say(peer, "{\"type\":\"\(peer.secret)\"}")
            case 20: frame(peer, input.byte(), input.run())
            case 21: frame(peer, 8 | 0x80, [3, 232])
            case 22: for _ in 0..<20 { say(peer, view(input.byte())) }
            default: say(peer, String(decoding: input.run(), as: UTF8.self))
            }
        }

        private func view(_ choice: UInt8) -> String {
            let wide = ["100", "1000", "5000", "50000"][Int(choice & 3)]
            let limit = choice & 4 != 0 ? ",\"limit\":\(Int(choice >> 5))" : ""
            let interval = choice & 8 != 0 ? ",\"interval_ms\":\(100 << Int(choice >> 5))" : ""
            return "{\"type\":\"view\",\"lat\":53.\(choice >> 4),\"lon\":13.25,\"radius_m\":\(wide)\(limit)\(interval)}"
        }

        private func say(_ peer: HostilePeer, _ text: String) { frame(peer, 1 | 0x80, Array(text.utf8)) }

        /// - Parameter first: opcode, and 0x80 for the last frame of a message.
        private func frame(_ peer: HostilePeer, _ first: UInt8, _ payload: [UInt8]) {
            var buffer = ByteBuffer()
            FrameWriter.append(
                Opcode(rawValue: first & 15) ?? .text, payload.span, isFinal: first & 0x80 != 0, mask: 0x0102_0304,
                to: &buffer)
            peer.end.send(buffer.array())
        }

        // MARK: What happens

        private func move(_ input: inout FuzzInput) {
            let choice = input.byte()
            let name = "car\(choice & 7)"
            let lat = 53.5 + Double(choice >> 3) / 300
            services.put(name, lat, 13.25)
            let update = DriverLocationUpdate(
                eventID: "", seq: UInt64(services.revision), at: 1_700_000_000_000, driverID: name, lat: lat,
                lon: 13.25,
                heading: 90, status: .available, reason: .location)
            world.loop.execute { [feed] in feed.receive(update, timestamp: nil) }
        }

        private func trigger(_ input: inout FuzzInput) {
            let choice = input.byte()
            let bytes = choice & 3 == 0 ? input.run() : []
            world.loop.execute { [feed] in
                switch choice & 3 {
                case 0: feed.receive(bytes.span, timestamp: Int64(choice))
                case 1: feed.positioned()
                case 2: feed.positionLost()
                default: feed.everythingIsDirty(isPoll: choice & 4 != 0)
                }
            }
        }

        private func end(_ input: inout FuzzInput) {
            let choice = input.byte()
            world.loop.execute { [self] in
                switch choice & 3 {
                case 0 where !isDraining:
                    isDraining = true
                    server.drain(keepingQuietFor: choice & 4 == 0 ? .zero : .seconds(1)) { [self] in drained += 1 }
                    live.drain(over: .seconds(Int(choice >> 4))) { [self] in drained += 1 }
                case 1:
                    live.refuseNew()
                    server.announceEnd()
                case 2: live.closeAll()
                default: server.closeAll()
                }
            }
        }

        // MARK: The end

        func end() throws {
            try services.become(.prompt)
            services.answerAll()
            try world.leave()
            try promise(server.connectionCount == 0, "\(server.connectionCount) connections of the server are left")
            try promise(live.sockets.count == 0, "\(live.sockets.count) WebSockets are left")
            try promise(drained == (isDraining ? 2 : 0), "drained \(drained) times")
            try promise(feed.units.isEmpty, "\(feed.units.count) units of the feed are left")
            let waiting = (feed.waitingCount, Int(feed.metrics.dirty.value), Int(feed.metrics.calls.value))
            try promise(waiting == (0, 0, 0), "waiting units, their gauge, that of calls: \(waiting)")
            try promise(
                backends.driverChannel.queuedCalls + backends.tripChannel.queuedCalls == 0, "calls are queued")
            world.loop.execute { [feed, backends] in
                feed.close()
                backends.close()
            }
            server.stopAccepting()
            try world.settle()
            try services.close()
            try world.run(for: 60_000_000_000)
            try world.promiseEmptiness()
        }
    }
#endif
