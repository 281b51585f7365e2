import Operations

/// Who may call an RPC of the services: a row of the one table. Operators may call everything that is not internal.
public struct RPCRight: Sendable {
    /// Whether nobody is asked who they are.
    public let isForAnyone: Bool
    public let roles: Roles
    /// Those of this installation's programs whose task it is.
    public let services: Set<ServiceName>
    /// Whether it is theirs alone, and no operator's: who could begin a session would have another name for as long as that lives,
    /// and whoever revokes the operator's own would not know it.
    public let isInternal: Bool
    /// Whether it changes something: then the audit has each call of it.
    public let change: Bool

    /// Whether they may, as far as their role goes. Whose thing it is about, the handler looks.
    public func allows(_ principal: Principal) -> Bool {
        if isForAnyone { return true }
        if principal.isService { return services.contains { $0.rawValue == principal.subject } }
        if isInternal { return false }
        if principal.isOperator { return true }
        return !principal.roles.isDisjoint(with: roles)
    }

    /// The row of a method by its path; nil: there is none, and a server that offers it does not start.
    public static func of(_ path: String) -> RPCRight? { table[path] }

    /// What a call counts as that is limited by rate; nil: it is for anyone, and is not limited.
    public static func limit(of path: String) -> LimitClass? { limits[path] }

    /// Every path that has a row.
    public static var paths: [String] { table.keys.sorted() }

    /// For those that only look.
    private static func reads(_ roles: Role..., services: Set<ServiceName> = []) -> RPCRight {
        RPCRight(isForAnyone: false, roles: Roles(roles), services: services, isInternal: false, change: false)
    }

    /// For those that change something.
    private static func changes(_ roles: Role..., services: Set<ServiceName> = []) -> RPCRight {
        RPCRight(isForAnyone: false, roles: Roles(roles), services: services, isInternal: false, change: true)
    }

    /// For what the gateway does when it has found out who somebody is.
    private static var gatewayChanges: RPCRight {
        RPCRight(isForAnyone: false, roles: [], services: [.gateway], isInternal: true, change: true)
    }

    private static let isAnyones = RPCRight(
        isForAnyone: true, roles: [], services: [], isInternal: false, change: false)

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
    /// when the token ends. The simulator, or the driver service that brings simulated drivers along, registers and enrols those
    /// alone; what they do then they do by tokens of their own.
    private static let table: [String: RPCRight] = {
        let simulators: Set<ServiceName> = [.driver, .simulator]
        var table: [String: RPCRight] = [:]
        func service(_ name: String, _ rows: [String: RPCRight]) {
            for (method, right) in rows { table["/\(name)/\(method)"] = right }
        }
        service(
            "driver.v1.DriverService",
            [
                "RegisterDriver": changes(services: simulators),
                "GetDriver": reads(.rider, .driver, services: [.gateway, .trip]),
                "ListDrivers": reads(),
                "FindAvailableDrivers": reads(.rider, .driver, services: [.gateway, .trip]),
                "ListDriversInAreas": reads(services: [.gateway]),
                // A driver their own, in each of these.
                "UpdateDriverStatus": changes(.driver),
                "ReportLocations": changes(.driver, services: [.gateway]),
                "StreamLocations": changes(.driver, services: [.gateway]),
                "WatchDriver": reads(.driver, services: [.gateway]),
                "UpdateDriver": changes(),
                "DeleteDriver": changes(),
                "SuspendDriver": changes(),
                "RestoreDriver": changes(),
            ])
        service(
            "trip.v1.TripService",
            [
                // A rider for themselves.
                "CreateTrip": changes(.rider),
                // Riders and drivers their own; others are not there.
                "GetTrip": reads(.rider, .driver),
                "ListTrips": reads(.rider, .driver, services: [.driver]),
                "WatchTrip": reads(.rider, .driver, services: [.gateway]),
                "CancelTrip": changes(.rider, .driver),
                "PickUpTrip": changes(.driver),
                "CompleteTrip": changes(.driver),
                "EndTrip": changes(),
            ])
        // The gateway has found out whom a session is for. Enrolments and revocations are what operators order.
        service(
            "auth.v1.AuthService",
            [
                "CreateSession": gatewayChanges,
                "RefreshSession": gatewayChanges,
                "EndSession": gatewayChanges,
                "CreateEnrolment": changes(services: simulators),
                "RedeemEnrolment": gatewayChanges,
                "CreateTicket": gatewayChanges,
                "RedeemTicket": gatewayChanges,
                "Revoke": changes(),
            ])
        // Probes know nobody's token.
        service("grpc.health.v1.Health", ["Check": isAnyones, "Watch": isAnyones])
        // Who only looks for a way in is not told what there is; operators use it with their token. So it needs no switch.
        for version in ["v1", "v1alpha"] {
            service("grpc.reflection.\(version).ServerReflection", ["ServerReflectionInfo": reads()])
        }
        return table
    }()
}
