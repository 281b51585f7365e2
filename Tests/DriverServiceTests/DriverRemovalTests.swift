import Reactor
import ReactorSim
import RideAPI
import RideDomain
import Storage
import Telemetry
import Testing

@testable import DriverService

/// A removal and a booking at the same moment: one of them is refused. In virtual time.
@Suite struct DriverRemovalTests {
    /// A driver service whose trip service answers when the test says so.
    private final class Town: DriverRepository, DriverAnnouncer, TripDirectory {
        let network = SimulatedNetwork(seed: 3)
        let loop: EventLoop
        private(set) var book: DriverBook!
        private(set) var removal: DriverRemoval!
        /// What the trip service is to answer to those who ask, in their order.
        private var questions: [((Result<String?, DriverError>) -> Void)] = []
        private(set) var deleted = 0
        private(set) var told: [DriverStatus] = []
        /// What became of the removals.
        private(set) var ends: [DriverError?] = []
        var asking: Int { questions.count }

        init() throws {
            loop = try network.makeLoop()
            var stored = StoredDrivers()
            stored.drivers = [
                Driver(
                    profile: DriverProfile(id: "ada", name: "Ada", vehicle: Vehicle(Station.vehicle)), position: home,
                    measuredAt: 1, updatedAt: 1, revision: 1)
            ]
            book = DriverBook(loop: loop, repository: self, announcer: self, stored: stored, timeToLive: 60_000)
            removal = DriverRemoval(book: book, directory: self) { _, _ in true }
        }

        func remove() {
            let before = asking
            loop.start { [self] in
                do throws(DriverError) {
                    try await removal.remove("ada", deadline: loop.now + 5_000_000_000)
                    ends.append(nil)
                } catch {
                    ends.append(error)
                }
            }
            network.run(until: { self.asking == before + 1 }, limit: 1_000_000_000)
        }

        /// Lets the trip service answer the next question, and waits for what becomes of that removal.
        func answer(_ answer: Result<String?, DriverError>) {
            let before = ends.count
            questions.removeFirst()(answer)
            network.run(until: { self.ends.count == before + 1 }, limit: 1_000_000_000)
        }

        var driver: Driver? { try? book.find("ada").driver }
        var available: Int { book.findAvailable(in: .everywhere, limit: 10, category: nil).found.count }

        func trip(ofDriver id: String, deadline: UInt64) async throws(DriverError) -> String? {
            var answer: Result<String?, DriverError>?
            await loop.wait { done in
                questions.append {
                    answer = $0
                    done()
                }
            }
            return try answer!.get()
        }
        func inProgress(page: String?) async throws(DriverError) -> TripListPage {
            TripListPage(trips: [], asOf: 0, epoch: 0, next: nil)
        }

        func insert(_ driver: Driver, deadline: UInt64?) async throws(StorageError) {}
        func saveStates(_ drivers: [Driver], deadline: UInt64?) async throws(StorageError) {}
        func saveTrips(_ trips: [TripProjection], cursor: EventCursor?, epoch: UInt64?) async throws(StorageError) {}
        func reserveRevision(_ revision: UInt64) async throws(StorageError) {}
        func probe(writing: Bool) async throws(StorageError) {}
        func close() async {}
        func announce(_ slot: Int32, _ driver: Driver, _ reason: DriverLocationUpdate.Reason, _ trace: TraceContext) {
            if reason == .status { told.append(driver.status) }
        }
        func delete(
            _ driverID: String, reason: String, at: Int64, deadline: UInt64?
        ) async throws(StorageError) -> DeletionOutcome {
            deleted += 1
            return .deleted(
                RevocationOutcome(
                    revocation: Revocation(target: .subject(driverID), at: at, reason: reason), sessions: 0))
        }
    }

    /// From the moment in which the trip service is asked nobody is told that the driver can be booked.
    @Test func whoIsBeingRemovedIsOffDutyUntilItIsSettled() throws {
        let town = try Town()
        #expect(town.available == 1)
        town.remove()
        let driver = try #require(town.driver)
        #expect(driver.status == .offline && !Driver_V1_Driver(driver, seenAs: .whole).present)
        #expect(town.available == 0 && town.told == [.offline] && town.deleted == 0)
        // The app goes on meanwhile, and says that its driver is there.
        town.loop.start { _ = try? await town.book.setPresent("ada", true, deadline: .max) }
        #expect(town.available == 0)
        town.answer(.success(nil))
        #expect(town.ends == [nil] && town.deleted == 1 && town.driver == nil && town.available == 0)
    }

    @Test(arguments: [
        Result<String?, DriverError>.success("t1"), .failure(.unavailable("away")), .failure(.deadlineExceeded("late")),
        .failure(.cancelled),
    ])
    func whoStaysIsOnDutyAgain(answer: Result<String?, DriverError>) throws {
        let town = try Town()
        town.remove()
        #expect(town.available == 0)
        town.answer(answer)
        let expected: DriverError
        switch answer {
        case .success: expected = .driverOnTrip(driverID: "ada", tripID: "t1")
        case .failure(let error): expected = error
        }
        #expect(town.ends == [expected] && town.deleted == 0)
        #expect(town.driver?.status == .available && town.available == 1 && town.told == [.offline, .available])
    }

    /// Off duty before, they stay so; nobody is told of anything.
    @Test func whoWasOffDutyStaysSo() async throws {
        let town = try Town()
        town.loop.start { _ = try? await town.book.setPresent("ada", false, deadline: .max) }
        town.network.run(until: { town.driver?.status == .offline }, limit: 1_000_000)
        let revision = town.driver?.revision
        town.remove()
        town.answer(.failure(.cancelled))
        #expect(town.driver?.status == .offline && town.driver?.revision == revision && town.told == [.offline])
        // A driver who goes on duty while it is settled is so afterwards.
        town.remove()
        town.loop.start { _ = try? await town.book.setPresent("ada", true, deadline: .max) }
        #expect(town.driver?.status == .offline)
        town.answer(.failure(.cancelled))
        #expect(town.driver?.status == .available && town.available == 1)
    }

    /// The event of a booking comes while the trip service is asked.
    @Test func aTripThatIsHeardOfMeanwhileCounts() throws {
        let town = try Town()
        town.remove()
        _ = town.book.apply(TripFact(driverID: "ada", tripID: "t7", seq: 9, isActive: true))
        town.answer(.success(nil))
        #expect(town.ends == [.driverOnTrip(driverID: "ada", tripID: "t7")] && town.deleted == 0)
        #expect(town.driver?.status == .unavailable)
        town.remove()
        #expect(town.ends.count == 2 && town.ends.last == town.ends.first)
    }

    @Test func ofTwoAtOnceOneRemovesAndTheOtherFindsNobody() throws {
        let town = try Town()
        town.remove()
        town.remove()
        town.answer(.failure(.unavailable("away")))
        // The other one has not settled it.
        #expect(town.available == 0 && town.told == [.offline])
        town.remove()
        town.answer(.success(nil))
        #expect(town.ends == [.unavailable("away"), nil] && town.driver == nil)
        // Somebody else has the id by now, and is not who was asked about.
        town.loop.start {
            _ = try? await town.book.register(
                DriverProfile(id: "ada", name: "Ada II", vehicle: Vehicle(Station.vehicle)), position: home,
                deadline: .max)
        }
        town.network.run(until: { town.available == 1 }, limit: 1_000_000)
        town.answer(.success(nil))
        #expect(town.ends.last == .driverNotFound("ada") && town.deleted == 1)
        #expect(town.driver?.profile.name == "Ada II" && town.available == 1)
    }
}
