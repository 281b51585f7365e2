import Bytes

/// The rules for what callers send, and the words that refuse it, each once: REST, WebSocket and gRPC say the same. A sentence
/// says the value, the rule and the remedy.
public enum Rules {
    /// Degrees.
    public static let latitude = NumberRule(-90...90, "between -90 and 90")
    /// Degrees.
    public static let longitude = NumberRule(-180...180, "between -180 and 180")
    /// Metres around a position.
    public static let radius = NumberRule(1...100_000, "between 1 and 100000 metres")
    /// Drivers in one answer.
    public static let limit = NumberRule(1...10_000, "a whole number between 1 and 10000", isWhole: true)
    /// Drivers or trips on a page.
    public static let pageSize = NumberRule(1...100, "a whole number between 1 and 100", isWhole: true)
    /// A driver's name.
    public static let name = TextRule(maximum: 100)
    /// Why an operator did something.
    public static let reason = TextRule(maximum: 200)
    /// Each word about a vehicle.
    public static let vehicleWord = TextRule(maximum: 50)
    /// Which status a list of drivers may be filtered by.
    public static let driverStatus = "available, unavailable or offline"
    /// Which status a driver may be given by hand: the third one follows from a trip.
    public static let statusByHand = "\"available\" or \"offline\""
    /// Which status a list of trips may be filtered by.
    public static let tripStatus = "in_progress, completed or cancelled"
    /// What a page token is.
    public static let pageToken = "the next_page_token of an answer with the same filter; leave it out to begin"

    public static func sentence(_ name: String, is value: String, _ rule: String) -> String {
        "\(name) is \(value); it must be \(rule)."
    }

    public static func missing(_ name: String) -> String { "\(name) is missing; it is required." }

    /// What is wrong with an idempotency key; nil: nothing.
    public static func violation(ofKey name: String, _ key: String) -> String? {
        if 1...255 ~= key.utf8.count, key.utf8.allSatisfy({ 0x20...0x7E ~= $0 }) { return nil }
        return "\(name) must be 1 to 255 printable ASCII characters."
    }

    /// Why an access token's or a session's name can't be one; nil: it can. What opens doors itself is no name, and would lie about
    /// in records: a token in its compact form, or a refresh token.
    public static func violation(ofTokenID id: String) -> String? {
        if let violation = violation(ofKey: "token_id", id) { return violation }
        let parts = id.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        let isToken = parts.count == 3 && id.hasPrefix("eyJ") || parts.count == 2 && parts.allSatisfy { $0.count == 43 }
        return isToken ? "token_id is the token itself; give its name (jti), or revoke its subject." : nil
    }

    /// What was sent, in quotation marks and at most 40 characters of it.
    public static func quoted(_ text: String) -> String { "\"\(text.clippedVisibly(to: 40))\"" }

    /// A number as people write it: 91, not 91.0.
    public static func text(_ number: Double) -> String {
        Int64(exactly: number).map(String.init) ?? number.description
    }
}

/// A number within bounds.
public struct NumberRule: Sendable {
    public let range: ClosedRange<Double>
    /// How "it must be" goes on.
    public let words: String
    private let isWhole: Bool

    init(_ range: ClosedRange<Double>, _ words: String, isWhole: Bool = false) {
        self.range = range
        self.words = words
        self.isWhole = isWhole
    }

    /// What is wrong with `value`; nil: nothing.
    public func violation(of name: String, _ value: Double) -> String? {
        if range.contains(value), !isWhole || value == value.rounded() { return nil }
        return Rules.sentence(name, is: Rules.text(value), words)
    }
}

/// A text for people.
public struct TextRule: Sendable {
    /// Characters.
    public let maximum: Int
    /// How "it must be" goes on.
    public var words: String { "a text of 1 to \(maximum) characters" }

    /// What is wrong with `text`; nil: nothing.
    public func violation(of name: String, _ text: String) -> String? {
        guard text.utf8.count <= maximum * 4, text.contains(where: { !$0.isWhitespace }), text.count <= maximum else {
            return Rules.sentence(name, is: text.isEmpty ? "empty" : Rules.quoted(text), words)
        }
        if text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) { return nil }
        return "\(name) has a control character; it must be \(words)."
    }
}

/// A parameter of a question that breaks a rule: the problem `invalid-parameter`.
public struct ParameterError: Error, Hashable, Sendable {
    /// The parameter's name.
    public let parameter: String
    /// The value, the rule and the remedy.
    public let detail: String

    public init(_ parameter: String, _ detail: String) {
        self.parameter = parameter
        self.detail = detail
    }

    /// For a `violation` that a rule found.
    static func check(_ parameter: String, _ violation: String?) throws(ParameterError) {
        if let violation { throw ParameterError(parameter, violation) }
    }
}
