import Operations

/// Who may call an RPC of the services: a row of the one table. Operators may call everything.
public struct RPCRight: Sendable {
    /// Whether nobody is asked who they are.
    public var isForAnyone = false
    public var roles: Set<Role> = []
    /// Those of this installation's programs whose task it is.
    public var services: Set<ServiceName> = []

    /// Whether they may, as far as their role goes. Whose thing it is about, the handler looks.
    public func allows(_ principal: Principal) -> Bool {
        if isForAnyone || principal.isOperator { return true }
        if principal.isService { return services.contains { $0.rawValue == principal.subject } }
        return !principal.roles.isDisjoint(with: roles)
    }

    /// The row of a method by its path; nil: there is none, and a server that offers it does not start.
    public static func of(_ path: String) -> RPCRight? { table[path] }

    /// What a call counts as that is limited by rate; nil: it is for anyone, and is not limited.
    public static func limit(of path: String) -> LimitClass? { limits[path] }

    /// Every path that has a row.
    public static var paths: [String] { table.keys.sorted() }

    private static func only(_ roles: Role..., services: Set<ServiceName> = []) -> RPCRight {
        RPCRight(roles: Set(roles), services: services)
    }

    private static let limits: [String: LimitClass] = {
        let classes: KeyValuePairs<LimitClass, (service: String, methods: [String])> = [
            .booking: ("trip.v1.TripService", ["CreateTrip"]),
            .read: (
                "driver.v1.DriverService", ["GetDriver", "ListDrivers", "FindAvailableDrivers", "ListDriversInAreas"]
            ),
            .read: ("trip.v1.TripService", ["GetTrip", "ListTrips"]),
            .read: ("grpc.reflection.v1.ServerReflection", ["ServerReflectionInfo"]),
            .read: ("grpc.reflection.v1alpha.ServerReflection", ["ServerReflectionInfo"]),
            .write: (
                "driver.v1.DriverService",
                [
                    "RegisterDriver", "UpdateDriverStatus", "UpdateDriver", "DeleteDriver", "SuspendDriver",
                    "RestoreDriver",
                ]
            ),
            .write: ("trip.v1.TripService", ["CancelTrip", "PickUpTrip", "CompleteTrip", "EndTrip"]),
            .write: ("auth.v1.AuthService", ["CreateEnrolment", "Revoke"]),
            // Like handshakes of WebSockets.
            .connect: ("driver.v1.DriverService", ["ReportLocations", "StreamLocations", "WatchDriver"]),
            .connect: ("trip.v1.TripService", ["WatchTrip"]),
            .token: (
                "auth.v1.AuthService",
                ["CreateSession", "RefreshSession", "EndSession", "RedeemEnrolment", "CreateTicket", "RedeemTicket"]
            ),
        ]
        var table: [String: LimitClass] = [:]
        for (limit, rows) in classes { for method in rows.methods { table["/\(rows.service)/\(method)"] = limit } }
        return table
    }()

    /// The gateway calls in the name of whoever asks it, with their token. In its own name it asks for what it shows to many
    /// (lists, cars, trips that are watched), and for what outlives a token: the streams behind a WebSocket, which it closes itself
    /// when the token ends. Simulated drivers have no tokens of their own: their apps are the simulator, or the driver service that
    /// brings them along.
    private static let table: [String: RPCRight] = {
        let apps: Set<ServiceName> = [.driver, .simulator]
        var table: [String: RPCRight] = [:]
        func service(_ name: String, _ rows: [String: RPCRight]) {
            for (method, right) in rows { table["/\(name)/\(method)"] = right }
        }
        service(
            "driver.v1.DriverService",
            [
                "RegisterDriver": only(services: apps),
                "GetDriver": only(.rider, .driver, services: apps.union([.gateway, .trip])),
                "ListDrivers": only(),
                "FindAvailableDrivers": only(.rider, .driver, services: [.gateway, .trip]),
                "ListDriversInAreas": only(services: [.gateway]),
                // A driver their own, in each of these.
                "UpdateDriverStatus": only(.driver),
                "ReportLocations": only(.driver, services: apps.union([.gateway])),
                "StreamLocations": only(.driver, services: apps.union([.gateway])),
                "WatchDriver": only(.driver, services: apps.union([.gateway])),
                "UpdateDriver": only(),
                "DeleteDriver": only(),
                "SuspendDriver": only(),
                "RestoreDriver": only(),
            ])
        service(
            "trip.v1.TripService",
            [
                // A rider for themselves.
                "CreateTrip": only(.rider),
                // Riders and drivers their own; others are not there.
                "GetTrip": only(.rider, .driver, services: apps),
                "ListTrips": only(.rider, .driver, services: [.driver]),
                "WatchTrip": only(.rider, .driver, services: [.gateway]),
                "CancelTrip": only(.rider, .driver),
                "PickUpTrip": only(.driver, services: apps),
                "CompleteTrip": only(.driver, services: apps),
                "EndTrip": only(),
            ])
        // The gateway has found out whom a session is for. Enrolments and revocations are what operators order.
        service(
            "auth.v1.AuthService",
            [
                "CreateSession": only(services: [.gateway]),
                "RefreshSession": only(services: [.gateway]),
                "EndSession": only(services: [.gateway]),
                "CreateEnrolment": only(),
                "RedeemEnrolment": only(services: [.gateway]),
                "CreateTicket": only(services: [.gateway]),
                "RedeemTicket": only(services: [.gateway]),
                "Revoke": only(),
            ])
        // Probes know nobody's token.
        service("grpc.health.v1.Health", ["Check": RPCRight(isForAnyone: true), "Watch": RPCRight(isForAnyone: true)])
        // Who only looks for a way in is not told what there is; operators use it with their token. So it needs no switch.
        for version in ["v1", "v1alpha"] {
            service("grpc.reflection.\(version).ServerReflection", ["ServerReflectionInfo": only()])
        }
        return table
    }()
}
