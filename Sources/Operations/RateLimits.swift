import Basics

/// What is limited by rate, each class by itself. The names are those of `CABSTAND_RATE_LIMIT`, of the `RateLimit` fields and of
/// the metrics.
public enum LimitClass: String, CaseIterable, Sendable {
    /// New trips.
    case booking
    /// What is asked and changes nothing.
    case read
    /// What changes something, new trips apart.
    case write
    /// New connections, and handshakes of WebSockets.
    case connect
    /// Positions on one WebSocket of a driver's app.
    case uplink
    /// Messages on one WebSocket of a live list: another area, a ping.
    case view
    /// Signing in, and making tokens.
    case token
}

/// How much of one class is allowed, as an operator wrote it: `50/s:100`.
public struct LimitPolicy: Sendable, Hashable {
    /// What is decided by.
    public let quota: RateQuota
    /// How many in how many seconds: `q` and `w` of draft-ietf-httpapi-ratelimit-headers. A burst and the time in which it is paid
    /// for, if those are whole seconds; else the rate.
    public let count: Int
    public let window: Int

    /// How many clients' worth an address may ask, and an operator's token. Reason: a street of phones behind the address of one
    /// network, and a program of an operator's that acts for many.
    public static let crowdFactor = 20

    /// What an address as a whole may, and an operator.
    public var crowd: RateQuota { quota.times(Self.crowdFactor) }

    private static let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600]
    /// Reason: a bound that nobody needs to exceed, and with which no sum runs over.
    private static let counts = 1...1_000_000_000

    /// - Parameter text: `COUNT/UNIT` or `COUNT/UNIT:BURST`. nil: it is neither.
    init?(_ text: Substring) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        let rate = parts[0].split(separator: "/", omittingEmptySubsequences: false)
        guard rate.count == 2, let count = Self.number(rate[0]), rate[1].count == 1, let word = rate[1].first,
            let unit = Self.units[word]
        else { return nil }
        var burst = count
        if parts.count == 2 {
            guard let given = Self.number(parts[1]) else { return nil }
            burst = given
        }
        quota = RateQuota(count, per: .seconds(unit), burst: burst)
        let isWhole = burst * unit % count == 0
        (self.count, window) = isWhole ? (burst, burst * unit / count) : (count, unit)
    }

    private static func number(_ text: Substring) -> Int? {
        guard text.utf8.allSatisfy({ (48...57).contains($0) }), let number = Int(text), counts.contains(number) else {
            return nil
        }
        return number
    }
}

/// The setting `CABSTAND_RATE_LIMIT`.
public enum RateLimits: Sendable, Hashable {
    /// Nothing was said: the defaults hold where everybody says who they are. Where nobody is asked, all that comes from one
    /// address counts as one client, and a program on the same machine (a load generator, a proxy that nobody has named) would
    /// be refused what it is there for; whoever wants limits there says which.
    case unsaid
    /// Nothing is limited.
    case off
    /// These instead of the defaults; nil inside: that class is not limited.
    case given([LimitClass: LimitPolicy?])

    /// What the setting takes, for help and errors.
    static let allowed =
        "off, or class=count/unit:burst, such as read=50/s:100,view=off; "
        + "\(LimitClass.allCases.map(\.rawValue).joined(separator: ", ")); s, m, h"

    /// nil: it is not what `allowed` says.
    init?(_ text: String) {
        switch text {
        case "": self = .unsaid
        case "off": self = .off
        default:
            var given: [LimitClass: LimitPolicy?] = [:]
            for item in text.split(separator: ",", omittingEmptySubsequences: false) {
                let parts = item.drop { $0 == " " }.split(separator: "=", omittingEmptySubsequences: false)
                guard parts.count == 2, let limit = LimitClass(rawValue: String(parts[0])), given[limit] == nil else {
                    return nil
                }
                if parts[1] == "off" {
                    given[limit] = .some(nil)
                } else {
                    guard let policy = LimitPolicy(parts[1]) else { return nil }
                    given[limit] = policy
                }
            }
            self = .given(given)
        }
    }

    /// What holds of each class; nil: nothing is limited.
    ///
    /// - Parameter isGuarded: whether everybody is asked who they are.
    public func policies(isGuarded: Bool) -> [LimitClass: LimitPolicy]? {
        switch self {
        case .unsaid: isGuarded ? Self.defaults : nil
        case .off: nil
        case .given(let given):
            Self.defaults.merging(given.compactMapValues { $0 }) { $1 }
                .filter { limit, _ in given[limit].map { $0 != nil } ?? true }
        }
    }

    /// Generous: they are there for programs that run wild, not for people. Reasons:
    ///
    /// | class | why so much |
    /// |---|---|
    /// | booking | a rider asks again every few seconds while no car is free |
    /// | read | a page polls a list and follows a trip in a few tabs |
    /// | write | a driver taps through a ride, an app sends again what got no answer |
    /// | connect | everybody comes back within seconds after a restart |
    /// | uplink | a position a second; after a tunnel those of five minutes at once |
    /// | view | a map that is dragged sends its area a few times a second |
    /// | token | a street behind one address opens the page when the rain begins |
    private static let defaults: [LimitClass: LimitPolicy] = {
        let texts: KeyValuePairs<LimitClass, Substring> = [
            .booking: "20/m", .read: "50/s:100", .write: "20/s:60", .connect: "10/s:100", .uplink: "10/s:300",
            .view: "20/s:60", .token: "5/s:300",
        ]
        return Dictionary(
            uniqueKeysWithValues: texts.compactMap { limit, text in LimitPolicy(text).map { (limit, $0) } })
    }()
}
