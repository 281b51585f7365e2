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

    /// Reads a date in one of the three forms that there are (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`,
    /// `Sunday, 06-Nov-94 08:49:37 GMT`, `Sun Nov  6 08:49:37 1994`.
    ///
    /// - Parameter now: Unix seconds: a year of two digits is at most fifty years ahead.
    /// - Returns: Unix seconds; nil for everything else.
    public static func parse(_ text: Span<UInt8>, now: Int64) -> Int64? {
        if let date = DateReader(text, "~~~, DD ### YYYY hh:mm:ss GMT") { return date.unixSeconds }
        if let date = DateReader(text, "~~~ ### _D hh:mm:ss YYYY") { return date.unixSeconds }
        var weekday = 0
        while weekday < text.count, text[weekday] != UInt8(ascii: ",") { weekday += 1 }
        guard (6...9).contains(weekday), var date = DateReader(text.extracting(weekday...), ", DD-###-YY hh:mm:ss GMT")
        else { return nil }
        let present = civil(fromDays: Int(min(max(now, 0), years.upperBound) / 86_400)).year
        date.year += present / 100 * 100
        if date.year > present + 50 { date.year -= 100 }
        return date.unixSeconds
    }

    private static func twoDigits(_ value: Int, _ output: inout ByteBuffer) {
        output.append(UInt8(48 + value / 10 % 10))
        output.append(UInt8(48 + value % 10))
    }

    /// The Gregorian date of a day counted from 1970-01-01: eras of 400 years, years that begin in March.
    fileprivate static func civil(fromDays days: Int) -> (year: Int, month: Int, day: Int) {
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

/// The parts of a date, read by a form.
private struct DateReader {
    var year = 0
    private var month = 0
    private var day = 0
    private var hour = 0
    private var minute = 0
    private var second = 0

    /// - Parameter form: `~` stands for a letter, `#` for one of the month's name, `D`, `Y`, `h`, `m`, `s` for digits, `_` for
    /// a digit or a space in front of the day's last; all else for itself.
    init?(_ text: Span<UInt8>, _ form: StaticString) {
        guard text.count == form.utf8CodeUnitCount else { return nil }
        var name = 0
        for index in 0..<text.count {
            let byte = text[index]
            let digit = Int(byte) - 48
            let isDigit = digit >= 0 && digit < 10
            switch unsafe form.utf8Start[index] {
            case UInt8(ascii: "~"): guard byte | 0x20 &- 97 < 26 else { return nil }
            case UInt8(ascii: "#"): name = name << 8 | Int(byte)
            case UInt8(ascii: "_") where byte == 32: break
            case UInt8(ascii: "_") where isDigit, UInt8(ascii: "D") where isDigit: day = day * 10 + digit
            case UInt8(ascii: "Y") where isDigit: year = year * 10 + digit
            case UInt8(ascii: "h") where isDigit: hour = hour * 10 + digit
            case UInt8(ascii: "m") where isDigit: minute = minute * 10 + digit
            case UInt8(ascii: "s") where isDigit: second = second * 10 + digit
            case UInt8(ascii: "_"), UInt8(ascii: "D"), UInt8(ascii: "Y"), UInt8(ascii: "h"), UInt8(ascii: "m"),
                UInt8(ascii: "s"):
                return nil
            case let expected: guard byte == expected else { return nil }
            }
        }
        switch name {
        case 0x4A616E: month = 1
        case 0x466562: month = 2
        case 0x4D6172: month = 3
        case 0x417072: month = 4
        case 0x4D6179: month = 5
        case 0x4A756E: month = 6
        case 0x4A756C: month = 7
        case 0x417567: month = 8
        case 0x536570: month = 9
        case 0x4F6374: month = 10
        case 0x4E6F76: month = 11
        case 0x446563: month = 12
        default: return nil
        }
    }

    /// nil: there is no such day or time.
    var unixSeconds: Int64? {
        let marchYear = month <= 2 ? year - 1 : year
        let era = (marchYear >= 0 ? marchYear : marchYear - 399) / 400
        let yearOfEra = marchYear - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        // A second of 60 is a leap second.
        guard HTTP1Date.civil(fromDays: days) == (year, month, day), hour < 24, minute < 60, second <= 60 else {
            return nil
        }
        return Int64(days) * 86_400 + Int64(hour * 3600 + minute * 60 + second)
    }
}
