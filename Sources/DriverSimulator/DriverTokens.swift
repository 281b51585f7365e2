import HTTPClient
import JSONWire

/// What a driver's app gets that signs in (RFC 6749 §5.1).
struct DriverTokens: Equatable {
    /// What its calls say in `authorization`, behind `Bearer`.
    let access: String
    /// Good for one refresh.
    let refresh: String
    /// Nanoseconds that the access token lives, from the answer on.
    let life: UInt64

    /// Seconds. Reason: more than a day means the same to an app, and sums must not overflow.
    private static let lives: ClosedRange<Int64> = 1...86_400

    /// From a gateway's answer; nil: it is none.
    init?(json: [UInt8]) {
        var (access, refresh, type) = ("", "", "")
        var seconds: Int64 = 0
        do throws(JSONError) {
            var reader = JSONReader(json.span)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                switch reader.string(of: name) {
                case "access_token": access = try reader.readString()
                case "refresh_token": refresh = try reader.readString()
                case "token_type": type = try reader.readString()
                case "expires_in": seconds = try reader.readInt64()
                default: try reader.skipValue()
                }
            }
            try reader.finish()
        } catch {
            return nil
        }
        guard type.lowercased() == "bearer", !refresh.isEmpty, seconds > 0, !access.isEmpty,
            access.utf8.allSatisfy({ 0x21...0x7E ~= $0 })
        else { return nil }
        self.access = access
        self.refresh = refresh
        life = UInt64(clamping: min(seconds, Self.lives.upperBound)) * 1_000_000_000
    }
}

/// What is left of what this address may ask of a class, as the gateway says with its answers (draft-ietf-httpapi-ratelimit-headers):
/// `RateLimit-Policy: "token";q=300;w=60` and `RateLimit: "token";r=120;t=36`.
struct AddressShare: Equatable {
    /// How many in a window.
    let quota: Int
    /// Seconds.
    let window: Int
    /// How many there are left.
    let remaining: Int

    /// Milliseconds that one wait lasts at most: a little goes on, however much the others of the address ask.
    private static let longest = 10_000

    /// nil: nothing is limited, or nothing that can be read is said of it.
    init?(_ fields: HTTPClientFields) {
        guard let policy = fields["ratelimit-policy"], let left = fields["ratelimit"],
            let quota = Self.parameter("q", of: policy), let window = Self.parameter("w", of: policy),
            let remaining = Self.parameter("r", of: left), quota > 0
        else { return nil }
        self.quota = quota
        self.window = window
        self.remaining = remaining
    }

    /// A number of the first item of a list (RFC 9651 §3.1), up to a million.
    private static func parameter(_ name: String, of list: String) -> Int? {
        let item = list.prefix { $0 != "," }
        for parameter in item.split(separator: ";").dropFirst() {
            let parts = parameter.drop { $0 == " " }.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0] == name else { continue }
            return Int(parts[1]).flatMap { 0...1_000_000 ~= $0 ? $0 : nil }
        }
        return nil
    }

    /// Nanoseconds until half of it is there again, which is for the others of this address; 0: it is there.
    var wait: UInt64 {
        let missing = quota - quota / 2 - remaining
        if missing <= 0 { return 0 }
        return UInt64(clamping: min(missing * window * 1_000 / quota, Self.longest)) * 1_000_000
    }
}
