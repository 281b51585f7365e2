import GRPCRuntime
import ProtobufWire

/// A domain error as it travels between the services: `google.rpc.Status` in `grpc-status-details-bin`, with ErrorInfo
/// (reason: the problem code, domain `cabstand`), BadRequest for single fields, RetryInfo, and Alternatives.
public struct ProblemDetails: Sendable, Equatable {
    public static let domain = "cabstand"

    /// The problem code of REST: `driver-unavailable`.
    public var code: String
    /// The problem's `detail`: a sentence for people.
    public var detail: String
    /// Further members of the problem: `active_trip_id`.
    public var metadata: [String: String]
    /// Fields that are wrong, with RFC 6901 pointers: the problem's `errors`.
    public var violations: [Violation]
    /// Milliseconds after which it may be tried again.
    public var retryAfter: Int64?
    /// Drivers that are offered instead. Nil: none are asked for; empty: there are none.
    public var alternatives: [Driver_V1_Driver]?

    public typealias Violation = BodyViolation

    public init(
        code: String, detail: String, metadata: [String: String] = [:], violations: [Violation] = [],
        retryAfter: Int64? = nil, alternatives: [Driver_V1_Driver]? = nil
    ) {
        self.code = code
        self.detail = detail
        self.metadata = metadata
        self.violations = violations
        self.retryAfter = retryAfter
        self.alternatives = alternatives
    }

    /// The bytes of `grpc-status-details-bin`. `grpcCode` is the call's status code.
    public func statusDetails(grpcCode: Int) -> [UInt8] {
        var status = Google_Rpc_Status(code: Int32(truncatingIfNeeded: grpcCode), message: detail)
        let info = Google_Rpc_ErrorInfo(reason: code, domain: Self.domain, metadata: metadata)
        status.details.append(Google_Protobuf_Any(packing: info))
        if !violations.isEmpty {
            let fields = violations.map {
                Google_Rpc_BadRequest.FieldViolation(field: $0.pointer, description_p: $0.detail)
            }
            status.details.append(Google_Protobuf_Any(packing: Google_Rpc_BadRequest(fieldViolations: fields)))
        }
        if let retryAfter {
            let delay = Google_Protobuf_Duration(milliseconds: retryAfter)
            status.details.append(Google_Protobuf_Any(packing: Google_Rpc_RetryInfo(retryDelay: delay)))
        }
        if let alternatives {
            status.details.append(Google_Protobuf_Any(packing: Trip_V1_Alternatives(drivers: alternatives)))
        }
        return status.encoded()
    }

    /// What `grpc-status-details-bin` says; nil if there is no error of Cabstand's in it.
    public init?(statusDetails bytes: [UInt8]) {
        guard !bytes.isEmpty, let status = try? Google_Rpc_Status(decoding: bytes) else { return nil }
        self.init(code: "", detail: status.message)
        for detail in status.details {
            if let info = detail.unpacked(as: Google_Rpc_ErrorInfo.self), info.domain == Self.domain {
                code = info.reason
                metadata = info.metadata
            } else if let request = detail.unpacked(as: Google_Rpc_BadRequest.self) {
                violations += request.fieldViolations.map { Violation(pointer: $0.field, detail: $0.description_p) }
            } else if let retry = detail.unpacked(as: Google_Rpc_RetryInfo.self) {
                retryAfter = retry.retryDelay?.milliseconds
            } else if let found = detail.unpacked(as: Trip_V1_Alternatives.self) {
                alternatives = (alternatives ?? []) + found.drivers
            }
        }
        if code.isEmpty { return nil }
    }
}

extension RPCError {
    /// A call's failure that carries `problem`.
    public init(_ problem: ProblemDetails, code: StatusCode) {
        self.init(
            code: code, message: problem.detail, statusDetails: problem.statusDetails(grpcCode: code.rawValue))
    }

    /// The problem that the failure carries; nil if it is none of Cabstand's.
    public var problem: ProblemDetails? { ProblemDetails(statusDetails: statusDetails) }
}
