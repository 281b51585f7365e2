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
    private let lists: DriverListAnswers

    init(backends: Backends) {
        self.backends = backends
        lists = DriverListAnswers(loop: backends.loop)
    }

    /// Adds the routes.
    func register(on routes: GuardedRoutes) {
        routes.add(.findAvailableDrivers, available)
        routes.add(.listDrivers, list)
        routes.add(.getDriver, get)
        routes.add(.registerDriver, gates: [ChangeGate(needsBody: true)], register)
        routes.add(.setDriverStatus, gates: [ChangeGate(needsBody: true)], setStatus)
        routes.add(.updateDriver, gates: [ChangeGate(needsBody: true)], update)
        routes.add(.deleteDriver, gates: [ChangeGate(needsBody: false)], delete)
        routes.add(.suspendDriver, gates: [ChangeGate(needsBody: true)], suspend)
        routes.add(.restoreDriver, gates: [ChangeGate(needsBody: true)], restore)
    }

    // MARK: Lists

    /// `GET /drivers/available?lat&lon&radius_m&limit&category` or `?bbox=west,south,east,north`
    private func available(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let pairs = try request.parameters()
        let call: Driver_V1_FindAvailableDriversRequest
        do throws(ParameterError) {
            let parameters = try AreaParameters(pairs, .list)
            call = Driver_V1_FindAvailableDriversRequest(try parameters.query(), category: parameters.category)
        } catch {
            throw Problem(parameter: error.parameter, error.detail)
        }
        let scope = RequestScope(request, responder)
        backends.call(.driver, scope) { [drivers = backends.drivers] options, done in
            // The client's method, answered as it came: nobody here needs to know the drivers.
            drivers.channel.unary("/driver.v1.DriverService/FindAvailableDrivers", call, options: options, done)
        } _: { [lists] (result: Result<DriverListParts, Problem>) in
            switch result {
            case .success(let parts): lists.answer(responder, with: parts)
            case .failure(let problem): responder.problem(problem)
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
                    parameter: "status", Rules.sentence("status", is: Rules.quoted(word), Rules.driverStatus))
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
        var call = try request.readBody(RequestBodies.registerDriver)
        // Minted here, a second attempt cannot register a driver twice; and the driver is new, whatever the last attempt hears.
        let isMinted = call.id == nil
        if isMinted { call.id = backends.mint() }
        request[AuditEntry.self]?.target = call.id
        let wanted = call
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.registerDriver(wanted, options: options, done)
        } _: { (result: Result<Driver_V1_RegisterDriverResponse, Problem>) in
            switch result.promised(\.driver, by: .driver) {
            case .success((let answer, let driver)):
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
        let call = Driver_V1_GetDriverRequest(driverID: try driver(request))
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.getDriver(call, options: options, done)
        } _: { (result: Result<Driver_V1_GetDriverResponse, Problem>) in
            responder.answer(result.promised(\.driver, by: .driver)) { $1.appendJSON(driver: $0.message) }
        }
    }

    /// `PATCH /drivers/{id}/status`
    private func setStatus(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let id = try driver(request)
        let status = try request.readBody(RequestBodies.driverStatus)
        let call = Driver_V1_UpdateDriverStatusRequest(driverID: id, status: status)
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.updateDriverStatus(call, options: options, done)
        } _: { (result: Result<Driver_V1_UpdateDriverStatusResponse, Problem>) in
            responder.answer(result.promised(\.driver, by: .driver)) { $1.appendJSON(driver: $0.message) }
        }
    }

    // MARK: What operators do

    /// The id of the driver in the path.
    private func driver(_ request: borrowing HTTPRequest) throws(Problem) -> String {
        guard let id = request.identifier() else { throw .noDriver(request.pathParameter("id") ?? "") }
        return id
    }

    /// `PATCH /drivers/{id}`: a merge patch (RFC 7396).
    private func update(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let id = try driver(request)
        var call = try request.readBody(RequestBodies.updateDriver)
        call.driverID = id
        let wanted = call
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.updateDriver(wanted, options: options, done)
        } _: { (result: Result<Driver_V1_UpdateDriverResponse, Problem>) in
            responder.answer(result.promised(\.driver, by: .driver)) { $1.appendJSON(driver: $0.message) }
        }
    }

    /// `DELETE /drivers/{id}`
    private func delete(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let call = Driver_V1_DeleteDriverRequest(driverID: try driver(request))
        // The second time there is nobody to delete.
        let scope = RequestScope(request, responder)
        backends.call(.driver, scope, mayRepeat: false) { [drivers = backends.drivers] options, done in
            drivers.deleteDriver(call, options: options, done)
        } _: { (result: Result<Driver_V1_DeleteDriverResponse, Problem>) in
            switch result {
            case .success: responder.respond(204)
            case .failure(let problem): responder.problem(problem)
            }
        }
    }

    /// `POST /drivers/{id}/suspend`
    private func suspend(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let call = Driver_V1_SuspendDriverRequest(
            driverID: try driver(request), reason: try request.readBody(RequestBodies.reason))
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.suspendDriver(call, options: options, done)
        } _: { (result: Result<Driver_V1_SuspendDriverResponse, Problem>) in
            responder.answer(result.promised(\.driver, by: .driver)) { $1.appendJSON(driver: $0.message) }
        }
    }

    /// `POST /drivers/{id}/restore`
    private func restore(_ request: borrowing HTTPRequest, _ responder: HTTPResponder) throws(Problem) {
        let call = Driver_V1_RestoreDriverRequest(
            driverID: try driver(request), reason: try request.readBody(RequestBodies.reason))
        backends.call(.driver, RequestScope(request, responder)) { [drivers = backends.drivers] options, done in
            drivers.restoreDriver(call, options: options, done)
        } _: { (result: Result<Driver_V1_RestoreDriverResponse, Problem>) in
            responder.answer(result.promised(\.driver, by: .driver)) { $1.appendJSON(driver: $0.message) }
        }
    }
}

extension Driver_V1_FindAvailableDriversRequest {
    /// What an area query asks of the driver service.
    init(_ query: AreaQuery, category: String? = nil) {
        self.init()
        self.category = category
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

extension Result where Failure == Problem {
    /// The answer with the message that it must have; a service that leaves it out is broken.
    func promised<Message>(
        _ message: (Success) -> Message?, by backend: Backend
    ) -> Result<(answer: Success, message: Message), Problem> {
        flatMap { answer in message(answer).map { .success((answer, $0)) } ?? .failure(.backendBroken(backend)) }
    }
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
