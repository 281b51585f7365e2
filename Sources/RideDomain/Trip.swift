/// Where a trip stands.
///
///     in_progress ──complete──▶ completed
///         │  ▲ pick up (once; sets picked_up_at, the status stays)
///         └──cancel, end──▶ cancelled
///
/// A trip only moves forward: nothing leaves `completed` or `cancelled`.
public enum TripStatus: Sendable, Hashable, CaseIterable {
    case inProgress
    case completed
    case cancelled

    /// The word of REST and Kafka.
    public var word: String {
        switch self {
        case .inProgress: "in_progress"
        case .completed: "completed"
        case .cancelled: "cancelled"
        }
    }

    public init?(word: String) {
        guard let status = Self.allCases.first(where: { $0.word == word }) else { return nil }
        self = status
    }

    public var isEnded: Bool { self != .inProgress }
}

/// What can be done to a trip.
public enum TripAction: Sendable, Hashable {
    case pickUp
    case complete
    case cancel
    /// By an operator: cancelled, with the reason.
    case end(reason: String)
}

/// The event that a change of a trip causes.
public enum TripEventKind: String, Sendable, Hashable, CaseIterable {
    case created = "TripCreated"
    case pickedUp = "TripPickedUp"
    case completed = "TripCompleted"
    case cancelled = "TripCancelled"
}

/// Why an action was refused.
public enum TripRefusal: Error, Equatable, Sendable {
    /// The trip has ended otherwise: problem `trip-already-ended`.
    case alreadyEnded(TripStatus)
}

/// A booking and its course. Instants are Unix milliseconds.
public struct Trip: Hashable, Sendable {
    public let id: String
    public let riderID: String
    /// As they were when they were booked.
    public let driver: DriverProfile
    public private(set) var status: TripStatus
    public let pickup: Position
    public let dropoff: Position
    public let createdAt: Int64
    public private(set) var pickedUpAt: Int64?
    public private(set) var endedAt: Int64?
    /// Why an operator ended it; nil: none has.
    public private(set) var endReason: String?
    /// The number of the last change; 0 until it is stored.
    public var seq: UInt64

    public var driverID: String { driver.id }

    /// A new booking: in progress, not picked up.
    public init(
        id: String, riderID: String, driver: DriverProfile, pickup: Position, dropoff: Position, createdAt: Int64
    ) {
        self.init(
            id: id, riderID: riderID, driver: driver, status: .inProgress, pickup: pickup, dropoff: dropoff,
            createdAt: createdAt, pickedUpAt: nil, endedAt: nil, seq: 0)
    }

    /// A trip as it was stored.
    public init(
        id: String, riderID: String, driver: DriverProfile, status: TripStatus, pickup: Position, dropoff: Position,
        createdAt: Int64, pickedUpAt: Int64?, endedAt: Int64?, endReason: String? = nil, seq: UInt64
    ) {
        self.id = id
        self.riderID = riderID
        self.driver = driver
        self.status = status
        self.pickup = pickup
        self.dropoff = dropoff
        self.createdAt = createdAt
        self.pickedUpAt = pickedUpAt
        self.endedAt = endedAt
        self.endReason = endReason
        self.seq = seq
    }

    /// Does `action` at `now` (Unix milliseconds). Returns the event that it causes, or nil when it was done before:
    /// every action may be repeated. An instant never lies before the one it follows.
    public mutating func apply(_ action: TripAction, at now: Int64) throws(TripRefusal) -> TripEventKind? {
        switch (action, status) {
        case (.pickUp, .inProgress):
            guard pickedUpAt == nil else { return nil }
            pickedUpAt = max(now, createdAt)
            return .pickedUp
        case (.complete, .inProgress):
            end(.completed, now)
            return .completed
        case (.cancel, .inProgress):
            end(.cancelled, now)
            return .cancelled
        case (.end(let reason), .inProgress):
            end(.cancelled, now)
            endReason = reason
            return .cancelled
        case (.complete, .completed), (.cancel, .cancelled), (.end, .cancelled):
            return nil
        case (.pickUp, _), (.complete, .cancelled), (.cancel, .completed), (.end, .completed):
            throw .alreadyEnded(status)
        }
    }

    private mutating func end(_ status: TripStatus, _ now: Int64) {
        self.status = status
        endedAt = max(now, pickedUpAt ?? createdAt)
    }
}
