import Bytes
import HTTP1
import JSONWire
import WebSockets

/// The small readers of text: what they accept they also write, and reading that gives the same again.
func fuzzText(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let kind = input.choice(7)
    let text = input.rest()
    switch kind {
    case 0: try percentCoding(text)
    case 1: try queryString(text)
    case 2: try base64(text)
    case 3: try rfc3339(text)
    case 4: try utf8(text)
    case 5: try numbers(text)
    default: try dates(text)
    }
}

private func percentCoding(_ bytes: [UInt8]) throws {
    guard let text = PercentCoding.decode(bytes.span) else { return }
    var buffer = ByteBuffer()
    PercentCoding.encode(text, to: &buffer)
    let again = PercentCoding.decode(buffer.span)
    try promise(again?.utf8.elementsEqual(text.utf8) == true, "\(text) became \(again ?? "nothing")")
}

private func queryString(_ bytes: [UInt8]) throws {
    var walk = QueryString()
    var end = 0
    var count = 0
    while let pair = walk.next(in: bytes.span) {
        try promise(pair.name.lowerBound >= end && pair.name.upperBound <= pair.value.lowerBound, "pairs overlap")
        try promise(pair.value.upperBound <= bytes.count, "a pair beyond the end")
        end = pair.value.upperBound
        count += 1
    }
    if let pairs = QueryString.decoded(bytes.span) { try promise(pairs.count == count, "pairs were lost") }
}

private func base64(_ bytes: [UInt8]) throws {
    var buffer = ByteBuffer()
    Base64.encode(bytes.span, into: &buffer)
    try promise(Base64.decode(buffer.span) == bytes, "written and read, it is another")
    _ = Base64.decode(bytes.span)
}

private func rfc3339(_ bytes: [UInt8]) throws {
    guard let instant = RFC3339.milliseconds(bytes.span) else { return }
    try promise((RFC3339.earliest...RFC3339.latest).contains(instant), "an instant beyond the calendar")
    try promise(RFC3339.milliseconds(RFC3339.string(instant)) == instant, "written and read, it is another")
}

private func utf8(_ bytes: [UInt8]) throws {
    let isText = String(validating: bytes, as: UTF8.self) != nil
    for seed: UInt8 in [0, 3, 255] {
        var validator = UTF8Validator()
        let accepted = pieces(bytes, seed: seed).allSatisfy { validator.accept(Array($0).span) }
        try promise((accepted && validator.isBetweenCharacters) == isText, "UTF-8 or not? cut by \(seed)")
    }
}

private func numbers(_ bytes: [UInt8]) throws {
    if let value = ASCII.decimal(bytes.span) {
        try promise(UInt64(String(decoding: bytes, as: UTF8.self)) == value, "\(value) is another number")
    }
    var input = FuzzInput(bytes)
    let bits = Double(bitPattern: input.uint64())
    var buffer = ByteBuffer()
    buffer.appendJSON(double: bits)
    buffer.append(UInt8(ascii: " "))
    buffer.appendJSON(coordinate: bits)
    buffer.append(UInt8(ascii: " "))
    buffer.appendJSON(fixed: bits, decimals: Int(input.byte()) % 10)
    buffer.append(UInt8(ascii: " "))
    buffer.append(decimal: Int64(bitPattern: bits.bitPattern))
    let words = String(decoding: buffer.array(), as: UTF8.self).split(separator: " ")
    try promise(words.count == 4, "a number without digits: \(words)")
    if bits.isFinite { try promise(Double(words[0]) == bits, "\(bits) was written \(words[0])") }
    try promise(Int64(words[3]) == Int64(bitPattern: bits.bitPattern), "an integer was written \(words[3])")
}

private func dates(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let milliseconds = Int64(bitPattern: input.uint64())
    var buffer = ByteBuffer()
    var cache = HTTP1DateCache()
    cache.append(to: &buffer, unixMilliseconds: milliseconds)
    cache.update(unixMilliseconds: milliseconds &+ Int64(input.byte()))
    HTTP1Date.append(unixSeconds: milliseconds / 1000, to: &buffer)
    try promise(String(validating: buffer.array(), as: UTF8.self) != nil, "a date that is no text")
    buffer.removeAll()
    RFC3339.append(milliseconds, to: &buffer)
}
