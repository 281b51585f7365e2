import Reactor
import RideDomain
import SQLiteStore
import TestSupport
import Testing

@testable import TripService

/// Behaviours 34 to 36 and the API's rules of `CreateTrip`, against a real database file.
@Suite struct TripBookTests {
    @Test func domain34_aDriverWithATripIsNotBookedAgainAndOthersAreOffered() throws {
        let desk = try Desk()
        let first = try desk.create(rider: "r1", driver: "d0").get()
        #expect(first.trip.driver.vehicle.plate == "NB-C 12")
        let second = try desk.create(rider: "r2", driver: "d0")
        guard case .failure(.driverUnavailable("d0", .taken, let alternatives)) = second else {
            Issue.record("\(second)")
            return
        }
        #expect(alternatives.map(\.driver.id) == ["d1", "d2", "d3"])
        #expect(alternatives.map(\.distance) == [200, 300, 400])
    }

    @Test func domain34_aRiderWithATripIsToldWhichOne() throws {
        let desk = try Desk()
        let first = try desk.create(rider: "r1", driver: "d0").get()
        let second = try desk.create(rider: "r1", driver: "d1")
        guard case .failure(.riderHasActiveTrip(let tripID)) = second else {
            Issue.record("\(second)")
            return
        }
        #expect(tripID == first.trip.id)
    }

    @Test func domain34_aThousandRacesForOneDriverHaveOneWinnerEach() throws {
        let desk = try Desk()
        for round in 0..<1000 {
            let answers = desk.createAtOnce([
                desk.request(rider: "left-\(round)", driver: "d0"),
                desk.request(rider: "right-\(round)", driver: "d0"),
            ])
            #expect(answers.map(code).sorted() == ["", "driver-unavailable"])
            let winner = answers.compactMap { try? $0.get().trip.id }.first ?? ""
            #expect(code(try desk.change(winner, .complete)) == "")
        }
    }

    @Test func domain34_onAConflictTheNextNearestIsBooked() throws {
        let desk = try Desk(drivers: 40)
        // The driver service goes on to say that all are free: only the database knows better.
        var booked: Set<String> = []
        for number in 0..<40 {
            let result = try desk.create(rider: "r\(number)")
            if case .success(let created) = result { booked.insert(created.trip.driverID) }
        }
        #expect(booked.count == 40)
        #expect(code(try desk.create(rider: "late")) == "no-driver-available")
    }

    @Test func domain34_concurrentMatchesGiveEachRiderAnotherDriver() throws {
        let desk = try Desk(drivers: 30)
        desk.directory.delay = 2_000_000
        let answers = desk.createAtOnce((0..<30).map { desk.request(rider: "r\($0)") })
        #expect(Set(answers.compactMap { try? $0.get().trip.driverID }).count == 30)
    }

    @Test func contract_unknownAndAbsentDriversAreRefused() throws {
        let desk = try Desk()
        #expect(code(try desk.create(rider: "r1", driver: "nobody")) == "unknown-driver")
        desk.directory.drivers.append(FakeDirectory.make("away", distance: 1, isPresent: false))
        let result = try desk.create(rider: "r1", driver: "away")
        guard case .failure(.driverUnavailable("away", .absent, let alternatives)) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(alternatives.map(\.driver.id) == ["d0", "d1", "d2"])
    }

    @Test func contract_aDriverWhoIsTooFarAwayIsNeitherBookedNorOffered() throws {
        let desk = try Desk(drivers: 1, maximumPickup: 50_000)
        desk.directory.drivers += [
            FakeDirectory.make("near", distance: 50_000), FakeDirectory.make("far", distance: 50_000.1),
            FakeDirectory.make("abroad", distance: 5_000_000),
        ]
        for (driver, distance) in [("far", 50_000.1), ("abroad", 5_000_000)] {
            let result = try desk.create(rider: "r1", driver: driver)
            guard case .failure(.driverTooFar(driver, distance, 50_000)) = result else {
                Issue.record("\(result)")
                continue
            }
        }
        let trip = try desk.create(rider: "r1", driver: "near").get().trip
        #expect(trip.driverID == "near")
        guard
            case .failure(.driverUnavailable("near", .taken, let others)) = try desk.create(rider: "r2", driver: "near")
        else {
            Issue.record("booked twice")
            return
        }
        #expect(others.map(\.driver.id) == ["d0"])
        // A request whose first try booked them is answered with its trip, wherever they have gone since.
        desk.directory.drivers[1] = FakeDirectory.make("near", distance: 60_000)
        #expect(try desk.change(trip.id, .complete).get().status == .completed)
        #expect(code(try desk.create(rider: "r1", driver: "near")) == "driver-too-far")
        #expect(try desk.create(rider: "r1", driver: "near", id: trip.id).get().trip.id == trip.id)
    }

    /// With a small limit, who is matched has to be within it, too.
    @Test func contract_noDriverBeyondTheLimitIsMatched() throws {
        let desk = try Desk(drivers: 3, maximumPickup: 250)
        #expect(try desk.create(rider: "r1").get().trip.driverID == "d0")
        #expect(try desk.create(rider: "r2").get().trip.driverID == "d1")
        guard case .failure(.noDriverAvailable(250, nil)) = try desk.create(rider: "r3") else {
            Issue.record("d2 is 300 m away")
            return
        }
        let wide = try Desk(drivers: 1, maximumPickup: 1_000_000)
        wide.directory.drivers = [FakeDirectory.make("far", distance: 10_001)]
        #expect(code(try wide.create(rider: "r1")) == "no-driver-available")
        #expect(code(try wide.create(rider: "r1", driver: "far")) == "")
    }

    @Test func contract_aCategoryThatIsAskedForIsKeptTo() throws {
        let desk = try Desk(drivers: 3)
        desk.directory.drivers += [
            FakeDirectory.make("van1", distance: 900, category: "van"),
            FakeDirectory.make("van2", distance: 800, category: "van"),
        ]
        guard
            case .failure(.wrongCategory("d0", "standard")) = try desk.create(
                rider: "r1", driver: "d0", category: "van")
        else {
            Issue.record("d0 has no van")
            return
        }
        #expect(try desk.create(rider: "r1", driver: "d0", category: "standard").get().trip.driverID == "d0")
        #expect(try desk.create(rider: "r2", category: "van").get().trip.driverID == "van2")
        guard
            case .failure(.driverUnavailable(_, _, let others)) = try desk.create(
                rider: "r3", driver: "van2", category: "van")
        else {
            Issue.record("van2 is taken")
            return
        }
        #expect(others.map(\.driver.id) == ["van1"])
        #expect(try desk.create(rider: "r3", category: "van").get().trip.driverID == "van1")
        guard case .failure(.noDriverAvailable(_, "van")) = try desk.create(rider: "r4", category: "van") else {
            Issue.record("no third van")
            return
        }
        #expect(try desk.create(rider: "r4").get().trip.driverID == "d1")
        // The trip of another request is nobody's own, whatever its identifier is.
        let trip = try desk.create(rider: "r5", id: "t5").get().trip
        #expect(code(try desk.create(rider: "r5", category: "van", id: trip.id)) == "invalid-body")
    }

    @Test func contract_nothingIsPromisedWhileTheDriverServiceIsAway() throws {
        let desk = try Desk()
        desk.directory.failure = .unavailable("away")
        #expect(code(try desk.create(rider: "r1", driver: "d0")) == "backend-unavailable")
        #expect(code(try desk.create(rider: "r1")) == "backend-unavailable")
        #expect(try desk.outbox().isEmpty)
    }

    @Test func domain35_aTripOnlyMovesForwardAndEveryStepMayBeRepeated() throws {
        let desk = try Desk()
        let trip = try desk.create(rider: "r1", driver: "d0").get().trip
        let picked = try desk.change(trip.id, .pickUp).get()
        #expect(picked.pickedUpAt != nil && picked.status == .inProgress)
        #expect(try desk.change(trip.id, .pickUp).get() == picked)
        let ended = try desk.change(trip.id, .complete).get()
        #expect(ended.status == .completed && ended.endedAt != nil)
        #expect(try desk.change(trip.id, .complete).get() == ended)
        #expect(code(try desk.change(trip.id, .cancel)) == "trip-already-ended")
        #expect(code(try desk.change(trip.id, .pickUp)) == "trip-already-ended")
        #expect(code(try desk.change("nothing", .cancel)) == "trip-not-found")
        #expect(try desk.get(trip.id).get() == ended)
        let events = try desk.outbox()
        #expect(events.map(\.kind) == [.created, .pickedUp, .completed])
        #expect(events.map(\.seq) == [1, 2, 3])
        // Each event shows the trip as it was then.
        #expect(events[0].trip.pickedUpAt == nil && events[0].trip.endedAt == nil)
        #expect(events[1].trip.status == .inProgress && events[1].trip.pickedUpAt != nil)
        #expect(events[2].trip.status == .completed)
        #expect(code(try desk.create(rider: "r1", driver: "d0")) == "")
    }

    @Test func domain36_theSameKeyAndBodyGiveTheSameTripEvenAfterItEnded() throws {
        let desk = try Desk()
        let first = try desk.create(rider: "r1", driver: "d0", key: "k").get()
        #expect(!first.replayed)
        let again = try desk.create(rider: "r1", driver: "d0", key: "k").get()
        #expect(again.replayed && again.trip == first.trip)
        _ = try desk.change(first.trip.id, .pickUp)
        _ = try desk.change(first.trip.id, .complete)
        let later = try desk.create(rider: "r1", driver: "d0", key: "k").get()
        #expect(later.replayed && later.trip == first.trip)
        #expect(code(try desk.create(rider: "r1", driver: "d1", key: "k")) == "key-reused")
    }

    @Test func domain36_concurrentlyTheKeyIsInProgress() throws {
        let desk = try Desk()
        desk.directory.delay = 20_000_000
        let request = desk.request(rider: "r1", driver: "d0", key: "k")
        let codes = desk.createAtOnce([request, request]).map(code).sorted()
        #expect(codes == ["", "key-in-progress"])
    }

    @Test func domain36_aKeyWhoseBookingWasRefusedIsFree() throws {
        let desk = try Desk()
        #expect(code(try desk.create(rider: "r1", driver: "nobody", key: "k")) == "unknown-driver")
        #expect(code(try desk.create(rider: "r1", driver: "d0", key: "k")) == "")
    }

    @Test func contract_aRetryWithTheSameTripIDGetsTheTripItMade() throws {
        let desk = try Desk()
        let first = try desk.create(rider: "r1", driver: "d0", id: "t1").get()
        #expect(first.trip.id == "t1")
        let again = try desk.create(rider: "r1", driver: "d0", id: "t1").get()
        #expect(again.trip == first.trip)
        // The driver has gone home meanwhile, and the trip is over: still the same trip.
        _ = try desk.change("t1", .cancel)
        desk.directory.drivers[0] = FakeDirectory.make("d0", distance: 100, isPresent: false)
        #expect(try desk.create(rider: "r1", driver: "d0", id: "t1").get().trip.id == "t1")
        #expect(code(try desk.create(rider: "r2", driver: "d1", id: "t1")) == "invalid-body")
        #expect(try desk.outbox().count == 2)
    }

    @Test func domain33_whatWasAnsweredIsThereAfterARestart() throws {
        let folder = TemporaryFolder()
        let path = folder.file("trip.db")
        do {
            let desk = try Desk(path: path)
            _ = try desk.create(rider: "r1", driver: "d0", id: "t1", key: "k").get()
            desk.close()
        }
        let desk = try Desk(path: path)
        #expect(try desk.get("t1").get().riderID == "r1")
        #expect(code(try desk.create(rider: "r2", driver: "d0")) == "driver-unavailable")
        #expect(try desk.create(rider: "r1", driver: "d0", key: "k").get().replayed)
        #expect(try desk.outbox().map(\.kind) == [.created])
    }

    @Test func aFileOfTheFirstSchemaKeepsItsNumbers() throws {
        let folder = TemporaryFolder()
        let path = folder.file("trip.db")
        do {
            let database = try SQLiteDatabase(path: path)
            try database.migrate(Array(TripSchema.migrations.prefix(1)))
            for number in 1...3 {
                try database.statement("INSERT INTO outbox (trip_id, kind) VALUES (?1, 1)").run(.text("t\(number)"))
            }
        }
        let desk = try Desk(path: path)
        #expect(desk.start.lastSeq == 3)
        let trip = try desk.create(rider: "r1", driver: "d1").get().trip
        #expect(trip.seq == 4)
        #expect(try desk.outbox(after: 3).map(\.trip.id) == [trip.id])
        desk.close()
    }

    @Test func contract_listsAreNewestFirstFilteredAndPaged() throws {
        let desk = try Desk(drivers: 30)
        for number in 0..<25 {
            let rider = number % 2 == 0 ? "even" : "odd"
            let trip = try desk.create(rider: rider, driver: "d\(number)", id: "t\(100 + number)").get().trip
            if number < 23 { _ = try desk.change(trip.id, number % 3 == 0 ? .cancel : .complete) }
        }
        var seen: [Trip] = []
        var cursor: TripCursor?
        repeat {
            let page = try desk.list(TripFilter(riderID: "even"), after: cursor, limit: 5)
            seen += page.trips
            cursor = page.hasMore ? page.trips.last.map { TripCursor(createdAt: $0.createdAt, id: $0.id) } : nil
        } while cursor != nil
        #expect(seen.count == 13)
        #expect(seen.map(\.id) == seen.sorted { ($0.createdAt, $0.id) > ($1.createdAt, $1.id) }.map(\.id))
        let active = try desk.list(TripFilter(status: .inProgress))
        #expect(Set(active.trips.map(\.id)) == ["t123", "t124"])
        #expect(active.seq == 48)
        #expect(try desk.list(TripFilter(driverID: "d3", status: .cancelled)).trips.map(\.id) == ["t103"])
        #expect(try desk.list(TripFilter(riderID: "nobody")).trips.isEmpty)
    }

    @Test func contract_aWatchGetsTheTripAtOnceAndEachChangeAndEndsWithIt() throws {
        let desk = try Desk()
        let trip = try desk.create(rider: "r1", driver: "d0").get().trip
        var seen: [String] = []
        _ = desk.watch(trip.id) { result in
            switch result {
            case .success(let trip): seen.append(trip.status.word + (trip.pickedUpAt == nil ? "" : "+picked"))
            case .failure(let error): seen.append(error.code)
            case nil: seen.append("end")
            }
        }
        _ = try desk.change(trip.id, .pickUp)
        _ = try desk.change(trip.id, .pickUp)
        _ = try desk.change(trip.id, .complete)
        #expect(seen == ["in_progress", "in_progress+picked", "completed+picked", "end"])
        seen = []
        guard case .failure(let error) = desk.watch("nothing", { _ in Issue.record("nothing is told") }) else {
            Issue.record("a trip that there is not was watched")
            return
        }
        #expect(error.code == "trip-not-found")
    }
}
