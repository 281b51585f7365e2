import Bytes
import GRPCRuntime
import JSONWire
import ProtobufWire
import RideAPI
import RideDomain
import Testing

func event(_ text: String) throws(EventError) -> RideEvent {
    let bytes = Array(text.utf8)
    return try RideEvent(decoding: bytes.span)
}

@Suite("Events")
struct EventTests {
    static let update = DriverLocationUpdate(
        eventID: "e-1", seq: 42, at: 1_795_545_628_123, driverID: "d-1", lat: 0, lon: 13.26, heading: 0, speed: 0,
        status: .available, reason: .registered)

    /// What `Samples.tripText` is the text of.
    static let trip = Trip(
        id: "t-1", riderID: "r-1",
        driver: DriverProfile(id: "d-1", name: "Ada", vehicle: Vehicle(Samples.vehicle)),
        pickup: Position(lat: 53.5, lon: 13.2), dropoff: Position(lat: 0, lon: -0.5), createdAt: 1_795_545_628_123)

    @Test func aLocationUpdateIsWrittenAsTheContractSays() throws {
        let text = written { Self.update.encode(into: &$0) }
        #expect(
            text == #"{"type":"DriverLocationUpdate","event_id":"e-1","seq":42,"at":"2026-11-24T18:40:28.123Z","#
                + #""driver_id":"d-1","lat":0,"lon":13.26,"heading":0,"speed":0,"status":"available","reason":"registered"}"#
        )
        #expect(try event(text) == .driverLocationUpdate(Self.update))
    }

    @Test func aTripEventIsWrittenAndRead() throws {
        for kind in ["TripCreated", "TripPickedUp", "TripCompleted", "TripCancelled"] {
            let sent = TripEvent(
                kind: try #require(.init(rawValue: kind)), eventID: "e", seq: 7, at: 1_795_545_628_123,
                trip: Self.trip)
            let text = written { sent.encode(into: &$0) }
            #expect(
                text.hasPrefix(#"{"type":"\#(kind)","event_id":"e","seq":7,"at":"2026-11-24T18:40:28.123Z","trip":{"#))
            #expect(text.contains(Samples.tripText))
            #expect(
                try event(text)
                    == .trip(
                        TripChange(
                            kind: sent.kind, eventID: "e", seq: 7, tripID: "t-1", driverID: "d-1", status: .inProgress))
            )
        }
    }

    @Test func aReaderTakesWhatPeopleWrite() throws {
        let update = try event(
            #" {"x":[{}],"lon":1,"status":"offline","lat":2,"driver_id":"d","heading":null,"type":"DriverLocationUpdate","#
                + #""reason":"moved"} "#)
        #expect(
            update
                == .driverLocationUpdate(
                    DriverLocationUpdate(
                        eventID: "", seq: 0, at: 0, driverID: "d", lat: 2, lon: 1, status: .offline, reason: nil)))
        let trip = try event(
            #"{"type":"TripCreated","seq":9,"trip":{"id":"t","driver_id":"d","status":"completed","fare":{"a":1}}}"#)
        #expect(
            trip
                == .trip(
                    TripChange(
                        kind: .created, eventID: "", seq: 9, tripID: "t", driverID: "d", status: .completed)))
        #expect(try RideAPITests.event(#"{"type":"DriverFired","lat":1}"#) == .other(type: "DriverFired"))
    }

    @Test(
        arguments: [
            ("", nil), ("{", nil), ("[]", nil), ("7", nil), (#"{"type":7}"#, nil), ("{}", .missing("type")),
            (#"{"type":"TripCreated"}"#, .missing("trip")), (#"{"type":"TripCreated","trip":{}}"#, .missing("trip.id")),
            (
                #"{"type":"TripCreated","trip":{"id":"t","driver_id":"d","status":"IN_PROGRESS"}}"#,
                .invalid("trip.status")
            ),
            (
                #"{"type":"DriverLocationUpdate","driver_id":"d","lat":91,"lon":0,"status":"offline"}"#,
                .invalid("lat, lon")
            ),
            (
                #"{"type":"DriverLocationUpdate","driver_id":"d d","lat":1,"lon":0,"status":"offline"}"#,
                .invalid("driver_id")
            ),
            (#"{"type":"DriverLocationUpdate","driver_id":"d","lat":1,"lon":0}"#, .missing("status")),
        ] as [(String, EventError?)])
    func whatIsNoEventIsRefused(_ text: String, _ error: EventError?) {
        #expect {
            try event(text)
        } throws: { thrown in
            guard let thrown = thrown as? EventError else { return false }
            if case .notJSON = thrown { return error == nil }
            return thrown == error
        }
    }
}

@Suite("Error details")
struct ProblemDetailsTests {
    @Test func aProblemTravelsInTheStatus() throws {
        let problem = ProblemDetails(
            code: "driver-unavailable", detail: "This driver was booked a moment ago.",
            metadata: ["active_trip_id": "t-1"], violations: [BodyViolation(pointer: "/driver_id", detail: "Taken.")],
            retryAfter: 1500, alternatives: [Samples.driver])
        let error = RPCError(problem, code: .failedPrecondition)
        #expect(error.message == problem.detail)
        #expect(error.problem == problem)
        let status = try Google_Rpc_Status(decoding: error.statusDetails)
        #expect(status.code == 9)
        #expect(
            status.details.map(\.typeURL) == [
                "type.googleapis.com/google.rpc.ErrorInfo", "type.googleapis.com/google.rpc.BadRequest",
                "type.googleapis.com/google.rpc.RetryInfo", "type.googleapis.com/trip.v1.Alternatives",
            ])
    }

    @Test func noAlternativesAreSomethingElseThanNone() {
        var problem = ProblemDetails(code: "driver-unavailable", detail: "d", alternatives: [])
        #expect(ProblemDetails(statusDetails: problem.statusDetails(grpcCode: 9))?.alternatives == [])
        problem.alternatives = nil
        #expect(ProblemDetails(statusDetails: problem.statusDetails(grpcCode: 9))?.alternatives == nil)
    }

    @Test func detailsOfOthersAreNoProblem() {
        #expect(RPCError(code: .internal, message: "m").problem == nil)
        #expect(ProblemDetails(statusDetails: [1, 2, 3]) == nil)
        let foreign = Google_Rpc_Status(
            code: 3, message: "m",
            details: [Google_Protobuf_Any(packing: Google_Rpc_ErrorInfo(reason: "X", domain: "example.org"))])
        #expect(ProblemDetails(statusDetails: foreign.encoded()) == nil)
    }
}
