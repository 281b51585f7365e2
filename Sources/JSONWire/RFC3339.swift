import Bytes

/// Instants as text: `2026-11-24T18:40:28.123Z` (RFC 3339, a profile of ISO 8601 in the proleptic Gregorian calendar).
public enum RFC3339 {
    /// 9999-12-31T23:59:59.999Z, the last instant that four digits of a year can say.
    public static let latest: Int64 = 253_402_300_799_999
    /// 0000-01-01T00:00:00.000Z.
    public static let earliest: Int64 = -62_167_219_200_000

    /// Appends the 24 bytes of an instant in UTC with milliseconds. Instants outside of the years 0 to 9999 become the
    /// first or the last one.
    public static func append(_ milliseconds: Int64, to buffer: inout ByteBuffer) {
        let instant = min(max(milliseconds, earliest), latest)
        let day = floorDivide(instant, 86_400_000)
        let time = Int(instant - day * 86_400_000)
        let (year, month, dayOfMonth) = civil(day: Int(day))
        unsafe buffer.appendUninitialized(24) { bytes in
            func put(_ value: Int, _ digits: Int, at place: Int) {
                var value = value
                for index in stride(from: place + digits - 1, through: place, by: -1) {
                    unsafe bytes[index] = UInt8(truncatingIfNeeded: value % 10) &+ 48
                    value /= 10
                }
            }
            put(year, 4, at: 0)
            put(month, 2, at: 5)
            put(dayOfMonth, 2, at: 8)
            put(time / 3_600_000, 2, at: 11)
            put(time / 60_000 % 60, 2, at: 14)
            put(time / 1000 % 60, 2, at: 17)
            put(time % 1000, 3, at: 20)
            unsafe bytes[4] = UInt8(ascii: "-")
            unsafe bytes[7] = UInt8(ascii: "-")
            unsafe bytes[10] = UInt8(ascii: "T")
            unsafe bytes[13] = UInt8(ascii: ":")
            unsafe bytes[16] = UInt8(ascii: ":")
            unsafe bytes[19] = UInt8(ascii: ".")
            unsafe bytes[23] = UInt8(ascii: "Z")
            return 24
        }
    }

    /// The instant as a string.
    public static func string(_ milliseconds: Int64) -> String {
        var buffer = ByteBuffer(capacity: 24)
        append(milliseconds, to: &buffer)
        return unsafe buffer.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) }
    }

    /// Unix milliseconds of a date-time of RFC 3339 §5.6, with any offset and any number of decimals (digits beyond the
    /// third are dropped); nil for anything else. A leap second is the first instant of the next minute.
    public static func milliseconds(_ text: String) -> Int64? {
        var text = text
        return text.withUTF8 { unsafe milliseconds(Span(_unsafeElements: $0)) }
    }

    /// As `milliseconds(_:)`, of bytes.
    public static func milliseconds(_ bytes: Span<UInt8>) -> Int64? {
        func number(_ start: Int, _ digits: Int) -> Int? {
            var value = 0
            for index in start..<start + digits {
                let digit = bytes[index] &- 48
                guard digit < 10 else { return nil }
                value = value * 10 + Int(digit)
            }
            return value
        }
        guard bytes.count >= 20, bytes.count <= 64,
            let year = number(0, 4), bytes[4] == UInt8(ascii: "-"),
            let month = number(5, 2), (1...12).contains(month), bytes[7] == UInt8(ascii: "-"),
            let day = number(8, 2), day >= 1, day <= length(ofMonth: month, year: year),
            bytes[10] | 0x20 == UInt8(ascii: "t"),
            let hour = number(11, 2), hour < 24, bytes[13] == UInt8(ascii: ":"),
            let minute = number(14, 2), minute < 60, bytes[16] == UInt8(ascii: ":"),
            let second = number(17, 2), second <= 60
        else { return nil }
        var place = 19
        var fraction = 0
        if bytes[place] == UInt8(ascii: ".") {
            let start = place + 1
            var scale = 100
            place = start
            while place < bytes.count, case let digit = bytes[place] &- 48, digit < 10 {
                fraction += Int(digit) * scale
                scale /= 10
                place += 1
            }
            guard place > start else { return nil }
        }
        guard place < bytes.count else { return nil }
        var offset = 0
        if bytes[place] | 0x20 == UInt8(ascii: "z") {
            place += 1
        } else {
            guard bytes[place] == UInt8(ascii: "+") || bytes[place] == UInt8(ascii: "-"), place + 6 == bytes.count,
                let hours = number(place + 1, 2), hours < 24, bytes[place + 3] == UInt8(ascii: ":"),
                let minutes = number(place + 4, 2), minutes < 60
            else { return nil }
            offset = (hours * 60 + minutes) * (bytes[place] == UInt8(ascii: "-") ? -1 : 1)
            place += 6
        }
        guard place == bytes.count else { return nil }
        let seconds = ((dayNumber(year, month, day) * 24 + hour) * 60 + minute - offset) * 60 + second
        return Int64(seconds) * 1000 + Int64(second == 60 ? 0 : fraction)
    }

    private static func length(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 4, 6, 9, 11: 30
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        default: 31
        }
    }

    private static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        value >= 0 ? value / divisor : (value - divisor + 1) / divisor
    }

    // The calendar is counted from 1 March of the year 0 in eras of 400 years, so that the leap day is the last one.

    /// Days from 1970-01-01 to a date.
    private static func dayNumber(_ year: Int, _ month: Int, _ day: Int) -> Int {
        let shifted = month > 2 ? year : year - 1
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// The date that lies `day` days after 1970-01-01.
    private static func civil(day: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = day + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * monthFromMarch + 2) / 5 + 1)
    }
}
