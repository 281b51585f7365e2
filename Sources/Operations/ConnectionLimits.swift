/// The setting `CABSTAND_CONNECTION_LIMIT`: how many connections there may be at once.
public enum ConnectionLimits: Sendable, Hashable {
    /// Of what there may be so many.
    public enum Count: String, CaseIterable, Sendable {
        /// Connections of this gateway.
        case all
        /// Connections of one address, an IPv6 /64 being one.
        case address
        /// WebSockets of one principal.
        case principal
    }

    /// Nothing was said: as with `RateLimits`, the defaults hold where everybody says who they are.
    case unsaid
    case off
    /// These instead of the defaults.
    case given([Count: Int])

    static let allowed =
        "off, or counts between commas, such as all=50000,address=500,principal=10; each from 1 to 100000000"

    /// nil: it is not what `allowed` says.
    init?(_ text: String) {
        switch text {
        case "": self = .unsaid
        case "off": self = .off
        default:
            var given: [Count: Int] = [:]
            for item in text.split(separator: ",", omittingEmptySubsequences: false) {
                let parts = item.drop { $0 == " " }.split(separator: "=", omittingEmptySubsequences: false)
                guard parts.count == 2, let word = Count(rawValue: String(parts[0])), given[word] == nil,
                    parts[1].utf8.allSatisfy({ (48...57).contains($0) }), let count = Int(parts[1]),
                    (1...100_000_000).contains(count)
                else { return nil }
                given[word] = count
            }
            self = .given(given)
        }
    }

    /// How many there may be; nil: as many as there is room for.
    public func counts(isGuarded: Bool) -> [Count: Int]? {
        switch self {
        case .unsaid: isGuarded ? Self.defaults : nil
        case .off: nil
        case .given(let given): Self.defaults.merging(given) { $1 }
        }
    }

    /// Reasons: a hundred thousand quiet connections take about a gigabyte; a street behind one address has a few each; a person
    /// has a few tabs on a few devices.
    private static let defaults: [Count: Int] = [.all: 100_000, .address: 2_000, .principal: 20]
}
