import Bytes
import JSONWire
import ProtobufWire
import RideAPI
import RideDomain
import Testing

enum Samples {
    static let vehicle = Driver_V1_Vehicle(
        make: "Opel", model: "Corsa", color: "blue", plate: "NB-CS 1", category: "standard")
    static let instant = Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_628_123)
    static let driver = Driver_V1_Driver(
        id: "d-1", name: "Ada \"A\" L", vehicle: vehicle, lat: 53.5570012345, lon: 13.26, heading: 90.04, speed: 8.333,
        status: .available, updatedAt: instant, present: true)
    static let driverText =
        #"{"id":"d-1","name":"Ada \"A\" L","vehicle":{"make":"Opel","model":"Corsa","color":"blue","plate":"NB-CS 1","#
        + #""category":"standard"},"lat":53.557001,"lon":13.26,"heading":90,"speed":8.33,"status":"available","#
        + #""updated_at":"2026-11-24T18:40:28.123Z"}"#
    static let trip = Trip_V1_Trip(
        id: "t-1", riderID: "r-1", driverID: "d-1",
        driver: Trip_V1_TripDriver(id: "d-1", name: "Ada", vehicle: vehicle), status: .inProgress,
        pickup: Trip_V1_Place(lat: 53.5, lon: 13.2), dropoff: Trip_V1_Place(lat: 0, lon: -0.5), createdAt: instant,
        seq: 7)
    static let tripText =
        #"{"id":"t-1","rider_id":"r-1","driver_id":"d-1","driver":{"id":"d-1","name":"Ada","vehicle":{"make":"Opel","#
        + #""model":"Corsa","color":"blue","plate":"NB-CS 1","category":"standard"}},"status":"in_progress","#
        + #""pickup":{"lat":53.5,"lon":13.2},"dropoff":{"lat":0,"lon":-0.5},"created_at":"2026-11-24T18:40:28.123Z"}"#
}

func written(_ body: (inout ByteBuffer) -> Void) -> String {
    var buffer = ByteBuffer()
    body(&buffer)
    return String(decoding: buffer.array(), as: UTF8.self)
}

@Suite("JSON of drivers and trips")
struct JSONCodecTests {
    @Test func aDriverIsWrittenAsTheContractSays() {
        #expect(written { $0.appendJSON(driver: Samples.driver) } == Samples.driverText)
    }

    @Test(arguments: [DriverView.whole, .follower, .stranger]) func whereADriverIsStrangersAreToldWhileTheyAreFree(
        view: DriverView
    ) {
        let profile = DriverProfile(id: "d-1", name: "Ada L", vehicle: Vehicle(Samples.vehicle))
        var driver = Driver(
            profile: profile, position: Position(lat: 53.5, lon: 13.25), heading: 90, speed: 8, measuredAt: 1,
            updatedAt: 1_795_545_628_123, revision: 7)
        #expect(written { $0.appendJSON(driver: Driver_V1_Driver(driver, seenAs: view)) }.contains("\"lat\":53.5,"))
        driver.activeTripID = "t-1"
        let message = Driver_V1_Driver(driver, seenAs: view)
        let text = written { $0.appendJSON(driver: message) }
        #expect(message.activeTripID == (view == .whole ? "t-1" : nil))
        guard view == .stranger else {
            #expect(message.lat == 53.5 && text.contains("\"lat\":53.5,\"lon\":13.25,\"heading\":90,\"speed\":8,"))
            return
        }
        var profileOnly = Driver_V1_Driver(profile.seen(as: view))
        profileOnly.status = .unavailable
        #expect(message == profileOnly && !message.hasPosition)
        #expect(
            text == #"{"id":"d-1","name":"Ada","vehicle":{"make":"Opel","model":"Corsa","color":"blue","#
                + #""category":"standard"},"status":"unavailable"}"#)
    }

    @Test func aDistanceIsPutIntoADriversText() {
        var near = Samples.driver
        near.distanceM = 120.26
        let expected = written { $0.appendJSON(driver: near) }
        #expect(expected.contains(#""status":"available","distance_m":120.3,"updated_at""#))
        let text = Array(Samples.driverText.utf8)
        #expect(written { $0.appendJSON(driverText: text.span, distance: 120.26) } == expected)
    }

    @Test func aTripIsWrittenAsTheContractSays() {
        #expect(written { $0.appendJSON(trip: Samples.trip) } == Samples.tripText)
        var ended = Samples.trip
        ended.status = .completed
        ended.pickedUpAt = Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_629_000)
        ended.endedAt = Google_Protobuf_Timestamp(unixMilliseconds: 1_795_545_630_000)
        #expect(
            written { $0.appendJSON(trip: ended) }.hasSuffix(
                #","picked_up_at":"2026-11-24T18:40:29.000Z","ended_at":"2026-11-24T18:40:30.000Z"}"#))
    }

    @Test func aListReadAsTextIsTheSameAsThroughMessages() throws {
        var drivers = [Samples.driver, Driver_V1_Driver(), Driver_V1_Driver(id: "é\u{1}", distanceM: 0)]
        for index in 0..<50 {
            var driver = Samples.driver
            driver.id = "d-\(index)"
            driver.distanceM = index % 2 == 0 ? Double(index) * 1.25 : nil
            driver.heading = index % 3 == 0 ? nil : 0
            driver.status = index % 5 == 0 ? .UNRECOGNIZED(9) : .unavailable
            driver.activeTripID = "t"
            driver.unknownFields = [0xA0, 0x06, 0x01]
            drivers.append(driver)
        }
        // As strangers see it.
        drivers[50].vehicle?.plate = ""
        let list = Driver_V1_FindAvailableDriversResponse(
            drivers: drivers, revision: 1 << 40, asOf: Samples.instant, truncated: true)
        let text = try DriverListText(decoding: list.encoded())
        let expected = drivers.map { driver in written { $0.appendJSON(driver: driver) } }.joined(separator: ",")
        #expect(String(decoding: text.drivers, as: UTF8.self) == expected)
        #expect(text.count == 53)
        #expect(expected.split(separator: "\"plate\"").count == 1 + 50)
        #expect(text.revision == 1 << 40 && text.asOf == Samples.instant && text.truncated)
        #expect(try DriverListText(decoding: [] as [UInt8]).drivers.isEmpty)
        #expect(throws: ProtobufError.malformedUTF8) { try DriverListText(decoding: [10, 3, 10, 1, 0xFF]) }
        #expect(throws: ProtobufError.truncated) { try DriverListText(decoding: [10, 3, 10, 1]) }
    }

    @Test func everyStatusHasAWord() {
        for status in [Driver_V1_DriverStatus.available, .unavailable, .offline] {
            #expect(Driver_V1_DriverStatus(word: "\(status.word)") == status)
        }
        for status in [Trip_V1_TripStatus.inProgress, .completed, .cancelled] {
            #expect(Trip_V1_TripStatus(word: "\(status.word)") == status)
        }
        #expect(Driver_V1_DriverStatus(word: "AVAILABLE") == nil)
    }

    @Test func tripsOfTheDomainBecomeMessages() {
        let trip = Trip(
            id: "t-1", riderID: "r-1",
            driver: DriverProfile(id: "d-1", name: "Ada", vehicle: Vehicle(Samples.vehicle)), status: .inProgress,
            pickup: Position(lat: 53.5, lon: 13.2), dropoff: Position(lat: 0, lon: -0.5), createdAt: 1_795_545_628_123,
            pickedUpAt: nil, endedAt: nil, seq: 7)
        #expect(Trip_V1_Trip(trip) == Samples.trip)
    }
}

@Suite("Bodies of requests")
struct RequestBodyTests {
    func violations<Value>(_ body: () throws(BodyError) -> Value) -> [String] {
        do throws(BodyError) {
            _ = try body()
            return []
        } catch {
            switch error {
            case .malformed(let error): return ["malformed: \(error.offset)"]
            case .invalid(let violations): return violations.map { "\($0.pointer): \($0.detail)" }
            }
        }
    }

    func trip(_ text: String) throws(BodyError) -> Trip_V1_CreateTripRequest {
        let bytes = Array(text.utf8)
        return try RequestBodies.createTrip(bytes.span)
    }

    func driver(_ text: String) throws(BodyError) -> Driver_V1_RegisterDriverRequest {
        let bytes = Array(text.utf8)
        return try RequestBodies.registerDriver(bytes.span)
    }

    func status(_ text: String) throws(BodyError) -> Driver_V1_DriverStatus {
        let bytes = Array(text.utf8)
        return try RequestBodies.driverStatus(bytes.span)
    }

    func position(_ text: String) throws(BodyError) -> Driver_V1_ReportLocationsRequest {
        let bytes = Array(text.utf8)
        return try RequestBodies.driverPosition(bytes.span)
    }

    @Test func aTripIsRead() throws {
        let text = #"{"rider_id":"r-1","driver_id":"d-1","pickup":{"lat":1,"lon":2.5},"dropoff":{"lat":-3,"lon":4}}"#
        let request = try trip(text)
        #expect(
            request
                == Trip_V1_CreateTripRequest(
                    riderID: "r-1", driverID: "d-1", pickup: Trip_V1_Place(lat: 1, lon: 2.5),
                    dropoff: Trip_V1_Place(lat: -3, lon: 4)))
        let anyDriver = try trip(
            #"{"rider_id":"r","driver_id":null,"pickup":{"lat":1,"lon":2},"dropoff":{"lat":3,"lon":4}}"#)
        #expect(anyDriver.driverID == nil)
    }

    @Test func aCategoryIsRead() throws {
        let places = #""pickup":{"lat":1,"lon":2},"dropoff":{"lat":1,"lon":2}}"#
        #expect(try trip(#"{"rider_id":"r","category":"van",\#(places)"#).category == "van")
        #expect(try trip(#"{"rider_id":"r","category":null,\#(places)"#).category == nil)
        #expect(
            violations { () throws(BodyError) in try trip(#"{"rider_id":"r","category":"",\#(places)"#) } == [
                "/category: category is empty; it must be a text of 1 to 50 characters."
            ])
    }

    @Test func allViolationsAreFoundAtOnce() {
        let text = #"{"rider_id":"a b","pickup":{"lat":91,"lon":"x"},"dropoff":[1],"tip":5,"driver_id":7}"#
        #expect(
            violations { () throws(BodyError) in try trip(text) } == [
                "/rider_id: rider_id must be 1 to 64 characters of A–Z, a–z, 0–9, '.', '_' and '-'.",
                "/pickup/lat: lat is 91; it must be between -90 and 90.",
                "/pickup/lon: lon is a string; it must be between -180 and 180.",
                "/dropoff: dropoff must be an object, not an array.",
                "/tip: \"tip\" is not known here; there are rider_id, driver_id, category, pickup and dropoff.",
                "/driver_id: driver_id is a number; it must be a string.",
            ])
        #expect(
            violations { () throws(BodyError) in try trip(#"{"pickup":{"lat":1}}"#) } == [
                "/pickup/lon: lon is missing; it is required.", "/rider_id: rider_id is missing; it is required.",
                "/dropoff: dropoff is missing; it is required.",
            ])
        #expect(
            violations { () throws(BodyError) in try trip("[]") } == [": The body must be an object, not an array."])
        #expect(violations { () throws(BodyError) in try trip("") } == ["malformed: 0"])
        #expect(
            violations { () throws(BodyError) in try trip(#"{"rider_id":"r","rider_id":"r"}"#) } == ["malformed: 16"])
    }

    @Test func aDriverIsRead() throws {
        let vehicle = #"{"make":"Opel","model":"Corsa","color":"blue","plate":"NB-CS 1","category":"standard"}"#
        let request = try driver(#"{"name":"Ada","vehicle":\#(vehicle),"lat":53,"lon":13}"#)
        #expect(request == Driver_V1_RegisterDriverRequest(name: "Ada", vehicle: Samples.vehicle, lat: 53, lon: 13))
        #expect(
            violations { () throws(BodyError) in try driver(#"{"name":" ","vehicle":{"make":"O\u0007"},"lat":1e300}"#) }
                == [
                    "/name: name is \" \"; it must be a text of 1 to 100 characters.",
                    "/vehicle/make: make has a control character; it must be a text of 1 to 50 characters.",
                    "/vehicle/model: model is missing; it is required.",
                    "/vehicle/color: color is missing; it is required.",
                    "/vehicle/plate: plate is missing; it is required.",
                    "/vehicle/category: category is missing; it is required.",
                    "/lat: lat is 1e+300; it must be between -90 and 90.", "/lon: lon is missing; it is required.",
                ])
    }

    @Test func aStatusIsRead() throws {
        #expect(try status(#"{"status":"available"}"#) == .available)
        #expect(try status(#"{"status":"offline"}"#) == .offline)
        #expect(
            violations { () throws(BodyError) in try status(#"{"status":"unavailable"}"#) } == [
                "/status: status is \"unavailable\"; it must be \"available\" or \"offline\"."
            ])
        #expect(
            violations { () throws(BodyError) in try status("{}") } == ["/status: status is missing; it is required."])
    }

    @Test func aPositionIsRead() throws {
        let request = try position(
            #"{"lat":1,"lon":2,"heading":null,"speed":3.5,"altitude":44,"at":"2026-11-24T18:40:28.123Z"}"#)
        #expect(request == Driver_V1_ReportLocationsRequest(lat: 1, lon: 2, speed: 3.5, at: Samples.instant))
        // As Core Location says what it does not know: for the driver service to judge, like every other position.
        let phone = try position(#"{"lat":1,"lon":2,"heading":-1,"speed":-1.0,"accuracy":-1}"#)
        #expect(phone == Driver_V1_ReportLocationsRequest(lat: 1, lon: 2, heading: -1, speed: -1, accuracy: -1))
        #expect(
            violations { () throws(BodyError) in try position(#"{"lat":1,"lon":2,"speed":1001,"at":"now"}"#) } == [
                "/speed: speed is 1001; it must be between 0 and 1000 metres per second, or negative when it is not known.",
                "/at: at is \"now\"; it must be an instant of RFC 3339, as \"2026-11-24T18:40:28.123Z\".",
            ])
    }

    @Test func aFloodOfViolationsIsCut() {
        let text = "{" + (0..<200).map { "\"m\($0)\":0" }.joined(separator: ",") + "}"
        #expect(violations { () throws(BodyError) in try trip(text) }.count == 20)
    }

    /// 60 KB of marks on one letter cost a hundredth of a second, and 180 KB came back; in another order, half a second.
    @Test(arguments: ["\u{301}", "\u{301}\u{327}"]) func whatIsSaidOfALongNameIsShort(marks: String) {
        let name = "a" + String(repeating: marks, count: 60_000 / marks.utf8.count)
        for text in [
            "{\"\(name)\":1}", "{\"rider_id\":\"\(name)\"}", "{\"category\":\"\(name)\"}",
            "{\"pickup\":{\"\(name)\":1}}",
        ] {
            let all = violations { () throws(BodyError) in try trip(text) }
            #expect(!all.isEmpty && all.allSatisfy { $0.utf8.count < 600 })
        }
        let word = violations { () throws(BodyError) in try status("{\"status\":\"\(name)\"}") }
        #expect(word.count == 1 && word[0].utf8.count < 400)
        #expect(Driver_V1_DriverStatus(word: name) == nil && Trip_V1_TripStatus(word: name) == nil)
    }
}
