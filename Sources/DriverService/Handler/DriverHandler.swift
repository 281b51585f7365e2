import Access
import GRPCRuntime
import ProtobufWire
import Reactor
import RideAPI
import RideDomain
import Telemetry

/// `driver.v1.DriverService`: messages in, rules, messages out. On the loop.
final class DriverHandler: Driver_V1_DriverServiceHandler {
    private let loop: EventLoop
    private let book: DriverBook
    private let lists: DriverLists
    private let removal: DriverRemoval
    private let logger = Logger(label: "drivers")

    init(loop: EventLoop, book: DriverBook, removal: DriverRemoval) {
        self.loop = loop
        self.book = book
        self.removal = removal
        lists = DriverLists(loop: loop, book: book)
    }

    // MARK: One driver

    func registerDriver(
        _ request: Driver_V1_RegisterDriverRequest, _ call: UnaryServerCall<Driver_V1_RegisterDriverResponse>
    ) {
        if let id = request.id { call[AuditedCall.self]?.isAbout(id) }
        answer(call) { [book] deadline throws(DriverError) in
            if let caller = call[Principal.self], !caller.enrols(driver: request.id) { throw .notSimulated }
            let profile = try DriverRequests.profile(request) { book.makeID() }
            let (driver, created) = try await book.register(
                profile, position: Position(lat: request.lat, lon: request.lon).rounded, deadline: deadline,
                trace: call.origin.trace)
            call[AuditedCall.self]?.isAbout(driver.id)
            call.respond(
                Driver_V1_RegisterDriverResponse(driver: Driver_V1_Driver(driver, seenAs: .whole), created: created))
        }
    }

    func getDriver(_ request: Driver_V1_GetDriverRequest, _ call: UnaryServerCall<Driver_V1_GetDriverResponse>) {
        do throws(DriverError) {
            let driver = try book.find(request.driverID).driver
            let view = call[Principal.self]?.view(ofDriver: driver.id) ?? .whole
            // The number of the last change says that there was one.
            call.respond(
                Driver_V1_GetDriverResponse(
                    driver: Driver_V1_Driver(driver, seenAs: view),
                    revision: view.hasPosition(of: driver) ? driver.revision : 0))
        } catch {
            call.fail(error.rpcError)
        }
    }

    func updateDriverStatus(
        _ request: Driver_V1_UpdateDriverStatusRequest, _ call: UnaryServerCall<Driver_V1_UpdateDriverStatusResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        answer(call) { [book] deadline throws(DriverError) in
            try Self.check(call[Principal.self], speaksFor: request.driverID)
            let driver = try await book.setPresent(
                request.driverID, try DriverRequests.isPresent(request), deadline: deadline, trace: call.origin.trace)
            call.respond(Driver_V1_UpdateDriverStatusResponse(driver: Driver_V1_Driver(driver, seenAs: .whole)))
        }
    }

    // MARK: What operators do

    func updateDriver(
        _ request: Driver_V1_UpdateDriverRequest, _ call: UnaryServerCall<Driver_V1_UpdateDriverResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        answer(call) { [book] deadline throws(DriverError) in
            let driver = try await book.update(
                request.driverID, try DriverRequests.change(request), deadline: deadline, trace: call.origin.trace)
            call.respond(Driver_V1_UpdateDriverResponse(driver: Driver_V1_Driver(driver, seenAs: .whole)))
        }
    }

    func deleteDriver(
        _ request: Driver_V1_DeleteDriverRequest, _ call: UnaryServerCall<Driver_V1_DeleteDriverResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        answer(call) { [removal] deadline throws(DriverError) in
            try await removal.remove(request.driverID, deadline: deadline, trace: call.origin.trace)
            call.respond(Driver_V1_DeleteDriverResponse())
        }
    }

    func suspendDriver(
        _ request: Driver_V1_SuspendDriverRequest, _ call: UnaryServerCall<Driver_V1_SuspendDriverResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        answer(call) { [book] deadline throws(DriverError) in
            let driver = try await book.suspend(
                request.driverID, reason: try DriverRequests.reason(request.reason), deadline: deadline,
                trace: call.origin.trace)
            call.respond(Driver_V1_SuspendDriverResponse(driver: Driver_V1_Driver(driver, seenAs: .whole)))
        }
    }

    func restoreDriver(
        _ request: Driver_V1_RestoreDriverRequest, _ call: UnaryServerCall<Driver_V1_RestoreDriverResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        answer(call) { [book, logger] deadline throws(DriverError) in
            let reason = try DriverRequests.reason(request.reason)
            let driver = try await book.suspend(
                request.driverID, reason: nil, deadline: deadline, trace: call.origin.trace)
            // Nothing of the driver keeps it.
            logger.notice("a driver was restored", metadata: ["driver": driver.id, "reason": reason])
            call.respond(Driver_V1_RestoreDriverResponse(driver: Driver_V1_Driver(driver, seenAs: .whole)))
        }
    }

    /// A driver's own things are for themselves.
    private static func check(_ caller: Principal?, speaksFor driver: String) throws(DriverError) {
        if let caller, !caller.speaksFor(driver: driver) { throw .notYours }
    }

    /// Lets `work` answer, in a task that is cancelled when the client goes away or its deadline passes. A caller without a
    /// deadline does not wait for ever.
    private func answer<Response>(
        _ call: UnaryServerCall<Response>, _ work: @escaping (_ deadline: UInt64) async throws(DriverError) -> Void
    ) {
        let deadline = call.deadline ?? loop.now + DriverLimits.requestTimeout
        let task = loop.start {
            do throws(DriverError) {
                try await work(deadline)
            } catch {
                call.fail(error.rpcError)
            }
        }
        call.onCancel = { task.cancel() }
    }

    // MARK: Lists

    func listDrivers(_ request: Driver_V1_ListDriversRequest, _ call: UnaryServerCall<Driver_V1_ListDriversResponse>) {
        do throws(DriverError) {
            let question = try DriverRequests.page(request)
            let page = book.registry.page(status: question.status, after: question.after, limit: question.size)
            var response = Driver_V1_ListDriversResponse()
            let view = call[Principal.self]?.viewOfDrivers ?? .whole
            response.drivers = page.slots.map { Driver_V1_Driver(book.registry[$0], seenAs: view) }
            if page.more, let last = response.drivers.last {
                response.nextPageToken = DriverPageToken.text(after: last.id, question.status)
            }
            call.respond(response)
        } catch {
            call.fail(error.rpcError)
        }
    }

    func findAvailableDrivers(
        _ request: Driver_V1_FindAvailableDriversRequest,
        _ call: UnaryServerCall<Driver_V1_FindAvailableDriversResponse>
    ) {
        do throws(DriverError) {
            let question = try DriverRequests.find(request)
            lists.answer(call, question)
        } catch {
            call.fail(error.rpcError)
        }
    }

    func listDriversInAreas(
        _ request: Driver_V1_ListDriversInAreasRequest,
        _ call: UnaryServerCall<Driver_V1_ListDriversInAreasResponse>
    ) {
        do throws(DriverError) {
            try DriverRequests.check(request)
            try lists.answer(call, request)
        } catch {
            call.fail(error.rpcError)
        }
    }

    // MARK: Streams

    func reportLocations(
        _ call: ClientStreamingServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>
    ) {
        let report = LocationReport(
            book: book, caller: call[Principal.self], rate: call[MessageRate.self], audit: call[AuditedCall.self],
            trace: call.origin.trace)
        call.onMessage = { [unowned call] message in
            do throws(RPCError) { try report.take(message) } catch { call.fail(error) }
        }
        call.onEnd = { [unowned call] in call.respond(report.response) }
    }

    func streamLocations(
        _ call: BidirectionalServerCall<Driver_V1_ReportLocationsRequest, Driver_V1_ReportLocationsResponse>
    ) {
        LocationStream.begin(book, call)
    }

    func watchDriver(
        _ request: Driver_V1_WatchDriverRequest, _ call: ServerStreamingServerCall<Driver_V1_WatchDriverResponse>
    ) {
        call[AuditedCall.self]?.isAbout(request.driverID)
        do throws(DriverError) {
            try Self.check(call[Principal.self], speaksFor: request.driverID)
            DriverWatch.begin(request.driverID, book, call)
        } catch {
            call.fail(error.rpcError)
        }
    }
}
