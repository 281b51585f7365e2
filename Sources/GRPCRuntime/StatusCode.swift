/// How a call ended: the sixteen codes of gRPC and OK.
///
/// A struct and not an enum: a peer may send a number that this version does not know; it is kept as it came.
public struct StatusCode: RawRepresentable, Hashable, Sendable {
    public let rawValue: Int

    @inlinable
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// The call succeeded.
    @inlinable public static var ok: StatusCode { StatusCode(rawValue: 0) }
    /// The caller gave up.
    @inlinable public static var cancelled: StatusCode { StatusCode(rawValue: 1) }
    /// An error without a better name, or a code that is not known.
    @inlinable public static var unknown: StatusCode { StatusCode(rawValue: 2) }
    /// The request is wrong, whatever the state of the system.
    @inlinable public static var invalidArgument: StatusCode { StatusCode(rawValue: 3) }
    /// The deadline passed before the answer came.
    @inlinable public static var deadlineExceeded: StatusCode { StatusCode(rawValue: 4) }
    /// What was asked for does not exist.
    @inlinable public static var notFound: StatusCode { StatusCode(rawValue: 5) }
    /// What was to be made exists already.
    @inlinable public static var alreadyExists: StatusCode { StatusCode(rawValue: 6) }
    /// The caller may not do this.
    @inlinable public static var permissionDenied: StatusCode { StatusCode(rawValue: 7) }
    /// A quota or a limit is used up.
    @inlinable public static var resourceExhausted: StatusCode { StatusCode(rawValue: 8) }
    /// The system is not in the state that the call needs; retrying alone does not help.
    @inlinable public static var failedPrecondition: StatusCode { StatusCode(rawValue: 9) }
    /// The call was in conflict with another; retrying from the start may help.
    @inlinable public static var aborted: StatusCode { StatusCode(rawValue: 10) }
    /// A position outside the valid range.
    @inlinable public static var outOfRange: StatusCode { StatusCode(rawValue: 11) }
    /// The method does not exist here.
    @inlinable public static var unimplemented: StatusCode { StatusCode(rawValue: 12) }
    /// An invariant is broken, on either side.
    @inlinable public static var `internal`: StatusCode { StatusCode(rawValue: 13) }
    /// The service can't be reached now; retrying may help.
    @inlinable public static var unavailable: StatusCode { StatusCode(rawValue: 14) }
    /// Data were lost.
    @inlinable public static var dataLoss: StatusCode { StatusCode(rawValue: 15) }
    /// The caller did not say who they are.
    @inlinable public static var unauthenticated: StatusCode { StatusCode(rawValue: 16) }

    private static let names: [String] = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]

    /// The code for a response without `grpc-status` (gRPC's "HTTP to gRPC Status Code Mapping").
    public static func fromHTTP(status: Int) -> StatusCode {
        switch status {
        case 400: .internal
        case 401: .unauthenticated
        case 403: .permissionDenied
        case 404: .unimplemented
        case 429, 502, 503, 504: .unavailable
        default: .unknown
        }
    }
}

extension StatusCode: CustomStringConvertible {
    /// The name that the gRPC documents use, `NOT_FOUND`.
    public var description: String {
        Self.names.indices.contains(rawValue) ? Self.names[rawValue] : "CODE_\(rawValue)"
    }
}
