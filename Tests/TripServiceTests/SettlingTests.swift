import GRPCRuntime
import Reactor
import RideAPI
import Testing

@testable import TripService

/// A question that wants it knows of each trip whose booking was being made when it came.
@Suite struct SettlingTests {
    @Test func thoseOfAnInstantAreWaitedForAndNobodyElse() {
        var bookings = BookingsUnderWay()
        var over: [String] = []
        func end(_ place: Int) { for tell in bookings.end(place) { tell() } }
        #expect(bookings.isEmpty)
        let (first, second) = (bookings.begin(), bookings.begin())
        bookings.whenOver { over.append("a") }
        let third = bookings.begin()
        bookings.whenOver { over.append("b") }
        bookings.whenOver { over.append("c") }
        end(second)
        let fourth = bookings.begin()
        end(third)
        #expect(over.isEmpty)
        end(first)
        #expect(over == ["a", "b", "c"] && !bookings.isEmpty)
        let fifth = bookings.begin()
        bookings.whenOver { over.append("d") }
        end(fifth)
        #expect(over.count == 3)
        end(fourth)
        #expect(over.last == "d" && bookings.isEmpty)
        let sixth = bookings.begin()
        end(sixth)
        #expect(over.count == 4 && bookings.isEmpty)
    }

    /// The driver service said that the driver is on duty, and has been asked to remove them since: its question comes before the
    /// booking's commit.
    @Test func theTripOfABookingThatHasAskedBeforeIsInTheAnswer() throws {
        let desk = try Desk()
        let registry = ServiceRegistry()
        Trip_V1_TripService.register(TripHandler(loop: desk.loop, book: desk.book, start: desk.start), in: registry)
        let server = GRPCServer(loop: desk.loop, registry: registry)
        let address = try server.listen(.loopback(port: 0)).localAddress
        let client = Trip_V1_TripServiceClient(channel: GRPCChannel(loop: desk.loop, target: "\(address)"))
        func ask(settled: Bool, timeout: Duration = .seconds(4)) -> () -> Result<[String], RPCError>? {
            var answer: Result<[String], RPCError>?
            client.listTrips(
                Trip_V1_ListTripsRequest(driverID: "d0", status: .inProgress, pageSize: 1, settled: settled),
                options: CallOptions(timeout: timeout)
            ) { answer = $0.map { $0.trips.map(\.riderID) } }
            return { answer }
        }
        func book(_ rider: String, _ driver: String) {
            desk.loop.start {
                do throws(TripError) {
                    _ = try await desk.book.create(desk.request(rider: rider, driver: driver), deadline: .max)
                } catch {
                    Issue.record("\(error)")
                }
            }
        }
        let idle = ask(settled: true)
        desk.turn { idle() != nil }
        #expect(try idle()?.get() == [])

        // The driver service has answered, and the database has not come to it.
        let gate = desk.holdWriter()
        book("r1", "d0")
        desk.turn { desk.repository.writer.pending == 2 }
        let (settled, plain) = (ask(settled: true), ask(settled: false))
        let hasty = ask(settled: true, timeout: .milliseconds(50))
        desk.turn { plain() != nil && hasty() != nil }
        #expect(try plain()?.get() == [])
        guard case .failure(let error)? = hasty() else {
            Issue.record("it did not wait")
            return
        }
        #expect(error.code == .deadlineExceeded && settled() == nil)
        gate.open()
        desk.turn { settled() != nil }
        #expect(try settled()?.get() == ["r1"])

        // A booking that will never be a trip is waited for, too.
        desk.directory.isMute = true
        let task = desk.loop.start {
            _ = try? await desk.book.create(desk.request(rider: "r2", driver: "d1"), deadline: .max)
        }
        desk.turn { desk.directory.questions == 2 }
        let another = ask(settled: true)
        let seen = ask(settled: false)
        desk.turn { seen() != nil }
        #expect(another() == nil)
        task.cancel()
        desk.turn { another() != nil }
        #expect(try another()?.get() == ["r1"])
        client.channel.close()
        server.close()
        desk.close()
    }
}
