import Bytes

/// The `Date` field (RFC 9110 §6.6.1) as ready bytes, made anew once a second: formatting a date costs more than parsing a
/// request.
public struct HTTP1DateCache: Sendable {
    /// `Date: Sun, 06 Nov 1994 08:49:37 GMT` with CR LF: 37 bytes.
    /// The first `count` bytes hold the line of the last update.
    public private(set) var line: InlineArray<40, UInt8> = .init(repeating: 0)
    private var second: Int64 = .min

    /// No time yet: `update` gives it one.
    public init() {}

    /// Bytes of the field line.
    public static var count: Int { @inlinable get { 37 } }

    /// Makes the line for the instant `unixMilliseconds`, unless it is the one that is there.
    public mutating func update(unixMilliseconds: Int64) {
        let elapsed = unixMilliseconds &- second &* 1000
        if elapsed < 0 || elapsed >= 1000 || second == .min { refresh(unixMilliseconds) }
    }

    /// Appends the field line for the instant `unixMilliseconds`.
    public mutating func append(to output: inout ByteBuffer, unixMilliseconds: Int64) {
        update(unixMilliseconds: unixMilliseconds)
        output.append(line.span.extracting(first: Self.count))
    }

    private mutating func refresh(_ unixMilliseconds: Int64) {
        // Rounded down, also before 1970.
        let seconds = unixMilliseconds / 1000 - (unixMilliseconds % 1000 < 0 ? 1 : 0)
        var buffer = ByteBuffer(capacity: 40)
        buffer.append("Date: ")
        HTTP1Date.append(unixSeconds: seconds, to: &buffer)
        buffer.append("\r\n")
        for index in 0..<37 { line[index] = buffer[index] }
        second = seconds
    }
}

/// Dates in the format of HTTP fields.
public enum HTTP1Date {
    /// The years 0000 to 9999, which the format has digits for, in Unix seconds.
    private static let years = Int64(-62_167_219_200)...253_402_300_799

    /// Appends an IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`. A clock beyond the format's years, as a
    /// machine without a battery may have, is shown at their end.
    public static func append(unixSeconds: Int64, to output: inout ByteBuffer) {
        let seconds = Int(min(max(unixSeconds, years.lowerBound), years.upperBound))
        let days = (seconds - (seconds < 0 ? 86_399 : 0)) / 86_400
        let rest = seconds - days * 86_400
        let (year, month, day) = civil(fromDays: days)
        let names: [StaticString] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        output.append(names[((days % 7) + 7) % 7])
        output.append(", ")
        twoDigits(day, &output)
        let months: [StaticString] = [
            " Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ", " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec ",
        ]
        output.append(months[month - 1])
        twoDigits(year / 100, &output)
        twoDigits(year % 100, &output)
        output.append(UInt8(ascii: " "))
        twoDigits(rest / 3600, &output)
        output.append(UInt8(ascii: ":"))
        twoDigits(rest / 60 % 60, &output)
        output.append(UInt8(ascii: ":"))
        twoDigits(rest % 60, &output)
        output.append(" GMT")
    }

    private static func twoDigits(_ value: Int, _ output: inout ByteBuffer) {
        output.append(UInt8(48 + value / 10 % 10))
        output.append(UInt8(48 + value % 10))
    }

    /// The Gregorian date of a day counted from 1970-01-01: eras of 400 years, years that begin in March.
    private static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        let month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * marchMonth + 2) / 5 + 1)
    }
}
