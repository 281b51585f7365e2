/// A value beside a log message: text, or a number that stays one in JSON, so that lines can be filtered by it.
public enum LogValue: Sendable, Equatable {
    /// Text, which is quoted where it has to be.
    case text(String)
    /// A whole number.
    case integer(Int)
    /// Written with three decimals: `duration_ms` to the microsecond.
    case decimal(Double)

    /// The value as it is written.
    var description: String {
        switch self {
        case .text(let text): text
        case .integer(let number): String(number)
        case .decimal(let number): Self.threeDecimals(number)
        }
    }

    private static func threeDecimals(_ number: Double) -> String {
        guard number.magnitude < 1e15 else { return number.isFinite ? String(number) : "null" }
        let thousandths = Int((number.magnitude * 1000).rounded())
        let rest = String(thousandths % 1000)
        let padding = String(repeating: "0", count: 3 - rest.count)
        return "\(number < 0 ? "-" : "")\(thousandths / 1000).\(padding)\(rest)"
    }
}
