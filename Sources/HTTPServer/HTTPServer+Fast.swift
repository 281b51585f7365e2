import Bytes
import HTTP1
import Memory
import Reactor

extension HTTPServer {
    /// The common answer, in one go: from inside the handler, in turn, nothing waiting, to a client that keeps the
    /// connection and has no origin. Everything is written with one reservation; false: take the general way.
    @inline(__always)
    func respondAtOnce(
        _ responder: HTTPResponder, _ status: Int, _ type: StaticString, _ fields: HTTPFields,
        _ body: UnsafeRawBufferPointer
    ) -> Bool {
        guard context.value.isActive, !context.value.isAnswered, context.value.sequence == responder.sequence,
            context.value.handle == responder.connection, context.value.flags.isEmpty, context.value.extras.isEmpty,
            !core.value.isDraining, let connection = core.value.connections.find(responder.connection),
            connection.value.answered == responder.sequence, connection.value.flags.isEmpty,
            let output = wire(connection)
        else { return false }
        context.value.isAnswered = true
        let hasBody = HTTP1Status.allowsBody(status)
        let room = 256 + type.utf8CodeUnitCount + fields.lines.count + body.count
        unsafe output.value.appendUninitialized(room) { space in
            var cursor = unsafe Cursor(space.baseAddress.unsafelyUnwrapped)
            if status == 200 { cursor.put("HTTP/1.1 200 OK\r\n") } else { cursor.put(HTTP1Status.line(status)) }
            cursor.put(dateLine(), HTTP1DateCache.count)
            cursor.put("Content-Type: ")
            cursor.put(type)
            if hasBody {
                cursor.put("\r\nContent-Length: ")
                cursor.put(decimal: body.count)
            }
            if core.value.requestIDs {
                cursor.put("\r\nX-Request-Id: ")
                cursor.put(context.value.requestID.bytes, context.value.requestID.count)
            }
            cursor.put("\r\n")
            unsafe fields.lines.withUnsafeBytes { unsafe cursor.put($0) }
            cursor.put("\r\n")
            if hasBody { unsafe cursor.put(body) }
            return unsafe cursor.next - space.baseAddress.unsafelyUnwrapped
        }
        if let metrics = core.value.metrics {
            metrics.count(route: context.value.route, status: status, nanoseconds: 0)
        }
        if status >= 500 || core.value.log.noteFrom == 0 { noteCurrent(status) }
        connection.value.answered &+= 1
        if output.value.count > core.value.limits.outputHighWater { connection.value.flags.insert(.full) }
        return true
    }

    /// The `Date` field line of this turn.
    @inline(__always)
    private func dateLine() -> InlineArray<40, UInt8> {
        if loop.now >= core.value.dateHolds { refreshDate() }
        return core.value.date.line
    }

    /// Up to the next second, and at most 100 ms: by then a clock that was set is noticed.
    @inline(never)
    private func refreshDate() {
        let now = loop.wallClockMilliseconds
        core.value.date.update(unixMilliseconds: now)
        let left = UInt64(1000 - ((now % 1000) + 1000) % 1000)
        core.value.dateHolds = loop.now &+ min(left, 100) &* 1_000_000
    }
}

/// Writes into memory that was reserved. `@safe`: `respondAtOnce` reserves for everything that it puts.
@safe private struct Cursor {
    var next: UnsafeMutableRawPointer

    @inline(__always)
    init(_ start: UnsafeMutableRawPointer) { unsafe next = start }

    @inline(__always)
    mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        unsafe next.copyMemory(from: base, byteCount: bytes.count)
        unsafe next += bytes.count
    }

    /// A literal's copy is a few moves: its length is known when this is compiled.
    @inline(__always)
    mutating func put(_ text: StaticString) {
        unsafe next.copyMemory(from: text.utf8Start, byteCount: text.utf8CodeUnitCount)
        unsafe next += text.utf8CodeUnitCount
    }

    /// The whole array is stored, and the bytes behind the first `count` are written over next.
    @inline(__always)
    mutating func put<let size: Int>(_ bytes: InlineArray<size, UInt8>, _ count: Int) {
        unsafe next.storeBytes(of: bytes, as: InlineArray<size, UInt8>.self)
        unsafe next += count
    }

    @inline(__always)
    mutating func put(decimal value: Int) {
        var digits = 1
        var limit = 10
        while value >= limit {
            digits += 1
            limit &*= 10
        }
        var rest = UInt(bitPattern: value)
        for index in stride(from: digits - 1, through: 0, by: -1) {
            let (quotient, digit) = rest.quotientAndRemainder(dividingBy: 10)
            unsafe next.storeBytes(of: 48 + UInt8(truncatingIfNeeded: digit), toByteOffset: index, as: UInt8.self)
            rest = quotient
        }
        unsafe next += digits
    }
}
