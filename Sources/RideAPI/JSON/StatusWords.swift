import Bytes

// The words of REST, WebSocket and Kafka for the enums of protobuf.

extension Driver_V1_DriverStatus {
    /// `available`, `unavailable` or `offline`. What has no name counts as offline: it can't be booked.
    public var word: StaticString {
        switch self {
        case .available: "available"
        case .unavailable: "unavailable"
        case .offline, .unspecified, .UNRECOGNIZED: "offline"
        }
    }

    public init?(word: String) {
        // A longer one is none of these.
        switch word.clippedVisibly(to: 20) {
        case "available": self = .available
        case "unavailable": self = .unavailable
        case "offline": self = .offline
        default: return nil
        }
    }
}

extension Trip_V1_TripStatus {
    /// `in_progress`, `completed` or `cancelled`. What has no name counts as in progress: nothing is said to have ended.
    public var word: StaticString {
        switch self {
        case .inProgress, .unspecified, .UNRECOGNIZED: "in_progress"
        case .completed: "completed"
        case .cancelled: "cancelled"
        }
    }

    public init?(word: String) {
        // A longer one is none of these.
        switch word.clippedVisibly(to: 20) {
        case "in_progress": self = .inProgress
        case "completed": self = .completed
        case "cancelled": self = .cancelled
        default: return nil
        }
    }
}

extension ReportedReason {
    /// All words, for counting by them.
    public static var words: [String] { allCases.map(\.rawValue) }
}

/// Why a position was dropped: the keys of `ReportLocationsResponse.dropped` and of the uplink's `ack`.
public enum ReportedReason: String, Sendable, Hashable, CaseIterable {
    /// Too old when it came.
    case stale
    /// Not newer than the last one.
    case outOfOrder = "out_of_order"
    /// Farther from the last one than a car can have driven.
    case impossible
    /// Not a position.
    case invalid
}
