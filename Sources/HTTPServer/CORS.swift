import HTTP1

/// What pages of other origins may do with this server: the Fetch standard's CORS protocol.
public struct CORSPolicy: Sendable {
    /// Whose pages may use it.
    public var origins: OriginPolicy
    /// Names of the request fields that such a page may set, beside those that need no permission.
    public var allowedFields: [String]
    /// Names of the response fields that it may read, beside those that need no permission.
    public var exposedFields: [String]
    /// Seconds for which a browser may remember the permission.
    public var maximumAge: Int

    /// A policy; what is left out is the default: pages of the same host, and no fields beside `Content-Type`.
    public init(
        origins: OriginPolicy = .init(), allowedFields: [String] = ["content-type"], exposedFields: [String] = [],
        maximumAge: Int = 600
    ) {
        self.origins = origins
        self.allowedFields = allowedFields
        self.exposedFields = exposedFields
        self.maximumAge = maximumAge
    }

    /// The line that names the exposed fields; empty if there are none.
    var exposedLine: [UInt8] {
        if exposedFields.isEmpty { return [] }
        return Array("Access-Control-Expose-Headers: \(exposedFields.joined(separator: ", "))\r\n".utf8)
    }
}
