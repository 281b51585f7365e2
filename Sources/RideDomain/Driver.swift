/// Whether a driver can be booked, as the outside sees it. Derived, never stored.
public enum DriverStatus: Sendable, Hashable, CaseIterable {
    case available
    case unavailable
    case offline

    /// The word of REST and Kafka.
    public var word: String {
        switch self {
        case .available: "available"
        case .unavailable: "unavailable"
        case .offline: "offline"
        }
    }

    public init?(word: String) {
        switch word {
        case "available": self = .available
        case "unavailable": self = .unavailable
        case "offline": self = .offline
        default: return nil
        }
    }
}

/// Whether a driver is on duty.
public enum Presence: Int64, Sendable, Hashable {
    /// The driver went off duty by hand, and comes back by hand.
    case offline = 0
    case present = 1
    /// The driver's app streamed and fell silent: its next position ends that.
    case silent = 2
}

/// Who a driver is. It does not change, so copies of a driver, and of a trip, share it; a driver who changes gets another one.
public final class DriverProfile: Sendable, Hashable {
    public let id: String
    public let name: String
    public let vehicle: Vehicle

    public init(id: String, name: String, vehicle: Vehicle) {
        self.id = id
        self.name = name
        self.vehicle = vehicle
    }

    public static func == (left: DriverProfile, right: DriverProfile) -> Bool {
        left.id == right.id && left.name == right.name && left.vehicle == right.vehicle
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(id) }

    /// What somebody with that view gets to see.
    public func seen(as view: DriverView) -> DriverProfile {
        switch view {
        case .whole: return self
        case .follower, .stranger:
            var vehicle = vehicle
            vehicle.plate = ""
            let given = name.split(maxSplits: 1, whereSeparator: \.isWhitespace).first
            return DriverProfile(id: id, name: given.map(String.init) ?? name, vehicle: vehicle)
        }
    }
}

/// How much of a driver somebody gets to see. A plate and an exact name are for the rider on the trip, who finds them in the trip, for
/// the driver, and for operators. Where a car is that nobody can book is for them alone, too: else a trip could be followed by
/// whoever has seen its car.
public enum DriverView: Sendable, CaseIterable {
    /// Everything.
    case whole
    /// What a stranger sees, and where the car is whatever its driver does: for the gateway, which tells the rider on the trip.
    case follower
    /// The given name, which is the first word of the name, and the car without its plate: enough to choose by, too little to look
    /// somebody up by. Where the car is, as long as it can be booked.
    case stranger

    /// Whether where the driver is, where they head for, and when they moved, is seen.
    public func hasPosition(of driver: Driver) -> Bool { self != .stranger || driver.status == .available }
}

/// What of a profile is to change; nil: stays.
public struct ProfileChange: Sendable, Equatable {
    public var name: String?
    public var make: String?
    public var model: String?
    public var color: String?
    public var plate: String?
    public var category: String?

    public init(
        name: String? = nil, make: String? = nil, model: String? = nil, color: String? = nil, plate: String? = nil,
        category: String? = nil
    ) {
        self.name = name
        self.make = make
        self.model = model
        self.color = color
        self.plate = plate
        self.category = category
    }

    /// The profile after the change.
    public func applied(to profile: DriverProfile) -> DriverProfile {
        let vehicle = profile.vehicle
        return DriverProfile(
            id: profile.id, name: name ?? profile.name,
            vehicle: Vehicle(
                make: make ?? vehicle.make, model: model ?? vehicle.model, color: color ?? vehicle.color,
                plate: plate ?? vehicle.plate, category: category ?? vehicle.category))
    }
}

/// Why an operator has taken a driver off duty.
public final class Suspension: Sendable, Hashable {
    public let reason: String
    /// Unix milliseconds.
    public let at: Int64

    public init(reason: String, at: Int64) {
        self.reason = reason
        self.at = at
    }

    public static func == (left: Suspension, right: Suspension) -> Bool {
        left.reason == right.reason && left.at == right.at
    }

    public func hash(into hasher: inout Hasher) { hasher.combine(at) }
}

/// A driver: who, where, and the facts that the status is derived from.
public struct Driver: Hashable, Sendable {
    public internal(set) var profile: DriverProfile
    public var position: Position
    /// Degrees clockwise from north.
    public var heading: Double?
    /// Metres per second.
    public var speed: Double?
    /// Unix milliseconds at which the position was measured.
    public var measuredAt: Int64
    public var presence: Presence
    /// Whether a position was ever streamed: only then silence means anything.
    public var hasStreamed: Bool
    /// The trip that the driver is on, as far as is known here.
    public var activeTripID: String?
    /// The number of the last trip event that was taken over.
    public var tripSeq: UInt64
    /// The epoch of the trip database that it counts in; 0: it was not said.
    public var tripEpoch: UInt64
    /// Why they may not be on duty; nil: they may.
    public internal(set) var suspension: Suspension?
    /// Whether they may be removed in the next moment, and are off duty until that is settled. Never stored.
    public internal(set) var isLeaving = false
    /// Unix milliseconds of the last change.
    public var updatedAt: Int64
    /// The number of the last change.
    public var revision: UInt64

    public var id: String { profile.id }

    public init(
        profile: DriverProfile, position: Position, heading: Double? = nil, speed: Double? = nil, measuredAt: Int64,
        presence: Presence = .present, hasStreamed: Bool = false, activeTripID: String? = nil, tripSeq: UInt64 = 0,
        tripEpoch: UInt64 = 0, suspension: Suspension? = nil, updatedAt: Int64, revision: UInt64
    ) {
        self.profile = profile
        self.position = position
        self.heading = heading
        self.speed = speed
        self.measuredAt = measuredAt
        self.presence = presence
        self.hasStreamed = hasStreamed
        self.activeTripID = activeTripID
        self.tripSeq = tripSeq
        self.tripEpoch = tripEpoch
        self.suspension = suspension
        self.updatedAt = updatedAt
        self.revision = revision
    }

    /// On duty: present, not suspended, and not about to be removed.
    public var isOnDuty: Bool { presence == .present && suspension == nil && !isLeaving }

    /// An active trip makes a driver unavailable; without one they are available while on duty, and offline otherwise.
    public var status: DriverStatus { activeTripID != nil ? .unavailable : isOnDuty ? .available : .offline }
}
