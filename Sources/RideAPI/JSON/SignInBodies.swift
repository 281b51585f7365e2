import JSONWire
import RideDomain

/// The bodies of signing in, each an object of few strings.
extension RequestBodies {
    /// Reads an object whose only members are these strings; those that are missing are nil.
    ///
    /// - Parameters:
    ///   - names: the members, in the order of the answer.
    ///   - required: how many of them, from the first, have to be there.
    ///   - limit: the longest value in bytes.
    public static func strings(
        _ bytes: Span<UInt8>, _ names: [StaticString], required: Int, limit: Int = 1024
    ) throws(BodyError) -> [String?] {
        var body = BodyReader(bytes)
        var values = [String?](repeating: nil, count: names.count)
        let rule = "a text of 1 to \(limit) bytes"
        if try body.beginObject("The body") {
            members: while let member = try body.nextMember() {
                for (index, name) in names.enumerated() where body.isEqual(member, name) {
                    if let text = try body.string("\(name)", rule) {
                        if 1...limit ~= text.utf8.count {
                            values[index] = text
                        } else {
                            body.note("\(name) must be \(rule).")
                        }
                    }
                    continue members
                }
                try body.unknownMember(member, known: names.map(\.description).joined(separator: " and "))
            }
        }
        for index in 0..<required where values[index] == nil { body.missing(names[index].description) }
        try body.finish()
        return values
    }

    /// `POST /auth/revocations`: `subject` or `token_id`, and a `reason`.
    public static func revocation(_ bytes: Span<UInt8>) throws(BodyError) -> Auth_V1_RevokeRequest {
        let values = try strings(bytes, ["reason", "subject", "token_id"], required: 1, limit: 200)
        var request = Auth_V1_RevokeRequest()
        request.reason = values[0] ?? ""
        switch (values[1], values[2]) {
        case (let subject?, nil): request.subject = subject
        case (nil, let token?): request.tokenID = token
        default:
            let detail = "Give subject or token_id, and not both."
            throw .invalid([BodyViolation(pointer: "", detail: detail)])
        }
        return request
    }
}
