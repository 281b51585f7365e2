import Access
import GRPCRuntime
import RideAPI
import RideDomain
import Telemetry

/// One stream of positions: of one driver, counted by what became of them. On the loop.
final class LocationReport {
    private let book: DriverBook
    /// Who sends it, where that is known.
    private let caller: Principal?
    /// How much the stream may send; nil: as much as it likes.
    private let rate: MessageRate?
    /// Is told whose positions they are; nil: nobody keeps it.
    private let audit: AuditedCall?
    /// Of the request that the stream belongs to.
    private let trace: TraceContext
    private var driver: (id: String, slot: Int32)?
    private var accepted: UInt64 = 0
    private var dropped: [LocationDrop: UInt64] = [:]

    init(
        book: DriverBook, caller: Principal? = nil, rate: MessageRate? = nil, audit: AuditedCall? = nil,
        trace: TraceContext = .none
    ) {
        self.book = book
        self.caller = caller
        self.rate = rate
        self.audit = audit
        self.trace = trace
    }

    /// Takes a position; a bad one is counted, a bad stream throws, and so does one that sends too much.
    func take(_ message: Driver_V1_ReportLocationsRequest) throws(RPCError) {
        try rate?.take(now: book.loop.now)
        do throws(DriverError) { try note(message) } catch { throw error.rpcError }
    }

    private func note(_ message: Driver_V1_ReportLocationsRequest) throws(DriverError) {
        let slot: Int32
        if let driver {
            guard message.driverID.isEmpty || message.driverID == driver.id else {
                let rule =
                    "driver_id is \(message.driverID); this stream began with \(driver.id), and one stream has one driver."
                throw .invalid([BodyViolation(pointer: "/driver_id", detail: rule)])
            }
            slot = driver.slot
        } else {
            guard !message.driverID.isEmpty else {
                throw .invalid([
                    BodyViolation(
                        pointer: "/driver_id", detail: "driver_id is missing; the first message names the driver.")
                ])
            }
            audit?.isAbout(message.driverID)
            // Those that follow name the same driver, or none.
            if let caller, !caller.speaksFor(driver: message.driverID) { throw .notYours }
            slot = try book.find(message.driverID).slot
            driver = (message.driverID, slot)
        }
        if let refusal = book.refusal(of: slot) { throw refusal }
        if let drop = book.report(slot, LocationPoint(message), trace) {
            dropped[drop, default: 0] += 1
        } else {
            accepted += 1
        }
    }

    /// Of the driver that the stream began with; nil: it has not begun.
    var slot: Int32? { driver?.slot }

    var response: Driver_V1_ReportLocationsResponse {
        var response = Driver_V1_ReportLocationsResponse()
        response.accepted = accepted
        for (drop, count) in dropped { response.dropped[drop.rawValue] = count }
        return response
    }
}
