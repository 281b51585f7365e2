import Access
import GRPCRuntime
import Reactor
import RideAPI

/// One `StreamLocations` call: a driver's positions, and what became of them. On the loop.
///
///     position ─▶ LocationReport ─▶ counts ─▶ at the end of the turn, if the client reads: an acknowledgement
///
/// An acknowledgement counts everything since the stream began. So one that could not be sent is made up for by the next, a flood of
/// positions costs one message a turn, and a client that does not read costs none.
final class LocationStream {
    typealias Call = BidirectionalServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>

    private let call: Call
    fileprivate let report: LocationReport
    private let streams: LocationStreams
    private var number: UInt64 = 0
    /// Positions were taken that no acknowledgement counts yet.
    private var isDue = false

    static func begin(_ book: DriverBook, _ call: Call) {
        let stream = LocationStream(book, call)
        guard let number = book.locationStreams.add(stream) else { return call.fail(.serviceIsEnding) }
        stream.number = number
        call.onMessage = { stream.take($0) }
        call.onEnd = { stream.end(nil) }
        call.onWritable = { stream.acknowledge() }
        call.onCancel = { stream.streams.remove(number) }
    }

    private init(_ book: DriverBook, _ call: Call) {
        self.call = call
        report = LocationReport(
            book: book, caller: call[Principal.self], rate: call[MessageRate.self], audit: call[AuditedCall.self],
            trace: call.origin.trace)
        streams = book.locationStreams
    }

    private func take(_ message: Driver_V1_ReportLocationsRequest) {
        do throws(RPCError) { try report.take(message) } catch { return end(error) }
        if isDue { return }
        isDue = true
        call.loop.execute { self.acknowledge() }
    }

    /// While the client does not read, the counts wait: `onWritable` comes back here.
    private func acknowledge() {
        guard isDue, call.isWritable else { return }
        isDue = false
        call.send(report.response)
    }

    /// Ends the call, with OK for nil, behind an acknowledgement of all that was taken.
    func end(_ error: RPCError?) {
        streams.remove(number)
        if isDue { call.send(report.response) }
        isDue = false
        if let error { call.fail(error) } else { call.finish() }
    }
}

/// The `StreamLocations` calls that are open: they would go on for ever while the service waits for its calls to end. On the loop.
final class LocationStreams {
    private let loop: EventLoop
    private var streams: [UInt64: LocationStream] = [:]
    private var next: UInt64 = 0
    private var isEnding = false

    init(loop: EventLoop) { self.loop = loop }

    /// The stream's number; nil: the service is ending.
    func add(_ stream: LocationStream) -> UInt64? {
        if isEnding { return nil }
        next += 1
        streams[next] = stream
        return next
    }

    func remove(_ number: UInt64) { streams[number] = nil }

    /// Acknowledges what was taken and ends those of one driver.
    func end(_ slot: Int32, _ error: RPCError) {
        let all = streams.values.filter { $0.report.slot == slot }
        for stream in all { stream.end(error) }
    }

    /// Acknowledges what was taken and ends all streams with UNAVAILABLE, some in each turn; their clients come back elsewhere.
    func endAll() {
        isEnding = true
        let all = Array(streams.values)
        loop.inPortions(below: UInt32(clamping: all.count)) { all[Int($0)].end(.serviceIsEnding) }
    }
}

extension RPCError {
    /// What a stream that would not end by itself is told.
    static let serviceIsEnding = RPCError(
        code: .unavailable, message: "The driver service is ending; open the stream again.")
}
