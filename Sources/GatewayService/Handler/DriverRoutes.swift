import Bytes
import GRPCRuntime
import HTTPServer
import JSONWire
import ProtobufWire
import RideAPI
import RideDomain

/// REST's drivers on one loop.
final class DriverRoutes {
    private let backends: Backends

    init(backends: Backends) { self.backends = backends }

    /// Adds the routes under `prefix`.
    func register(on router: Router, prefix: String) {
        router.get(prefix + "/drivers/available") { [self] request, responder in
            answering(responder) { () throws(Problem) in try available(request, responder) }
        }
        router.get(prefix + "/drivers") { [self] request, responder in
            answering(responder) { () throws(Problem) in try list(request, responder) }
        }
        router.post(prefix + "/drivers") { [self] request, responder in
            answering(responder) { () throws(Problem) in try register(request, responder) }
        }
        router.get(prefix + "/drivers/{id}") { [self] request, responder in
            answering(responder) { () throws(Problem) in try get(request, responder) }
        }
        router.patch(prefix + "/drivers/{id}/status") { [self] request, responder in
            answering(responder) { () throws(Problem) in try setStatus(request, responder) }
        }
    }

    // MARK: Lists

    /// `GET /drivers/available?lat&lon&radius_m&limit` or `?bbox=west,south,east,north`
    private func available(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let pairs = try request.parameters()
        let query: AreaQuery
        do throws(ParameterError) {
            query = try AreaParameters.parse(pairs, .list).query
        } catch {
            throw Problem(parameter: error.parameter, error.detail)
        }
        let call = Driver_V1_FindAvailableDriversRequest(query)
        let scope = RequestScope(request, responder)
        backends.call(.driver, scope) { [drivers = backends.drivers] options, done in
            // The client's method, answered as text: nobody here needs to know the drivers.
            drivers.channel.unary("/driver.v1.DriverService/FindAvailableDrivers", call, options: options, done)
        } _: { (result: Result<DriverListText, Problem>) in
            responder.answer(result) { found, output in
                output.append("{\"drivers\":[")
                output.append(found.drivers)
                output.append("]")
                output.appendJSON("version", integer: found.revision)
                output.appendJSON("as_of", instant: found.asOf?.unixMilliseconds ?? 0)
                output.appendJSON("truncated", bool: found.truncated)
                output.append("}")
            }
        }
    }

    /// `GET /drivers?status&page_size&page_token`
    private func list(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let parameters = try ListParameters(try request.parameters(), filters: ["status"])
        var call = Driver_V1_ListDriversRequest()
        call.pageSize = parameters.pageSize
        call.pageToken = parameters.pageToken
        if let word = parameters.filters["status"] {
            guard let status = Driver_V1_DriverStatus(word: word) else {
                throw Problem(
                    parameter: "status",
                    "status is \"\(word.prefix(40))\"; it must be available, unavailable or offline.")
            }
            call.status = status
        }
        let wanted = call
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.listDrivers(wanted, options: options, done)
        } _: { (result: Result<Driver_V1_ListDriversResponse, Problem>) in
            responder.answer(result) { page, output in
                output.append("{\"drivers\":[")
                for driver in page.drivers {
                    output.appendJSONSeparator()
                    output.appendJSON(driver: driver)
                }
                output.append("]")
                if let token = page.nextPageToken { output.appendJSON("next_page_token", string: token) }
                output.append("}")
            }
        }
    }

    // MARK: One driver

    /// `POST /drivers`
    private func register(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        try request.checkChange(needsBody: true)
        var call = try request.readBody(RequestBodies.registerDriver)
        // Minted here, a second attempt cannot register a driver twice; and the driver is new, whatever the last attempt hears.
        let isMinted = call.id == nil
        if isMinted { call.id = backends.mint() }
        let wanted = call
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.registerDriver(wanted, options: options, done)
        } _: { (result: Result<Driver_V1_RegisterDriverResponse, Problem>) in
            switch result {
            case .success(let answer):
                let driver = answer.driver ?? Driver_V1_Driver()
                let fields: HTTPFields = ["Location": "/drivers/\(driver.id)"]
                responder.respond(answer.created || isMinted ? 201 : 200, "application/json", fields: fields) {
                    $0.appendJSON(driver: driver)
                }
            case .failure(let problem): responder.problem(problem)
            }
        }
    }

    /// `GET /drivers/{id}`
    private func get(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        guard let id = request.identifier() else { throw .noDriver(request.pathParameter("id") ?? "") }
        let call = Driver_V1_GetDriverRequest(driverID: id)
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.getDriver(call, options: options, done)
        } _: { (result: Result<Driver_V1_GetDriverResponse, Problem>) in
            responder.answer(result) { $1.appendJSON(driver: $0.driver ?? Driver_V1_Driver()) }
        }
    }

    /// `PATCH /drivers/{id}/status`
    private func setStatus(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        try request.checkChange(needsBody: true)
        guard let id = request.identifier() else { throw .noDriver(request.pathParameter("id") ?? "") }
        let status = try request.readBody(RequestBodies.driverStatus)
        let call = Driver_V1_UpdateDriverStatusRequest(driverID: id, status: status)
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.updateDriverStatus(call, options: options, done)
        } _: { (result: Result<Driver_V1_UpdateDriverStatusResponse, Problem>) in
            responder.answer(result) { $1.appendJSON(driver: $0.driver ?? Driver_V1_Driver()) }
        }
    }
}

extension Driver_V1_FindAvailableDriversRequest {
    /// What an area query asks of the driver service.
    init(_ query: AreaQuery) {
        self.init()
        switch query.area {
        case .everywhere: break
        case .around(let position, let radius):
            lat = position.lat
            lon = position.lon
            radiusM = radius
        case .box(let area): box = Driver_V1_Box(area)
        }
        limit = UInt32(query.limit)
    }
}

/// Runs a handler; the problem that it throws is the answer.
func answering(_ responder: HTTPResponder, _ handle: () throws(Problem) -> Void) {
    do throws(Problem) { try handle() } catch { responder.problem(error) }
}

extension HTTPResponder {
    /// 200 with what `write` makes of the answer, or the problem.
    func answer<Response>(_ result: Result<Response, Problem>, _ write: (Response, inout ByteBuffer) -> Void) {
        switch result {
        case .success(let response): respond(200, "application/json") { write(response, &$0) }
        case .failure(let problem): self.problem(problem)
        }
    }
}
