import Glibc
import TestSupport
import Testing

/// Behaviours 33–38 under kill −9 of every service and of Kafka, under load. One broker and one fleet for all of it:
/// starting them is what takes the time.
@Suite(
    .serialized,
    .enabled(if: Fleet.isBuilt, "skipped: the programs are not built beside the tests"),
    .enabled(if: KafkaBroker.isAvailable, "\(KafkaBroker.isMissing)"))
struct CrashTests {
    @Test func domain33_to_38_nothingAcknowledgedIsLostWhateverIsKilled() throws {
        let broker = try KafkaBroker()
        defer { broker.stop() }
        let fleet = try Fleet(bootstrapServers: broker.bootstrapServers, extra: Load.settings)
        let drivers = try Load.register(8, on: fleet)
        let load = try Load(fleet, drivers: drivers, riders: 16, prefix: "crash")
        for _ in 0..<20 { load.step() }

        for service in [Fleet.Service.trip, .driver, .gateway, .trip] {
            // With sixteen requests on their way.
            load.step { fleet.kill(service) }
            for _ in 0..<3 { load.step() }
            try fleet.start(service)
            try fleet.waitUntilReady(degraded: true)
            #expect(load.settle(seconds: 30), "riders without an answer after \(service) came back")
            for _ in 0..<20 { load.step() }
        }

        // Kafka away: bookings go on.
        broker.kill()
        let before = load.trips.count
        for _ in 0..<40 { load.step() }
        #expect(load.trips.count > before, "no booking without Kafka")
        try broker.start()

        #expect(load.settle(seconds: 30))
        #expect(load.unexpected == [])
        #expect(load.trips.count > 100)
        try fleet.waitUntilReady()
        Checks.everythingToldIsThere(load, fleet)
        try Checks.everyEventArrived(load, bootstrapServers: broker.bootstrapServers)
        Checks.theListIsRight(fleet, drivers: drivers)
        if let verdict = try load.isLinearizable() { #expect(verdict) }

        for service in [Fleet.Service.gateway, .trip, .driver] {
            #expect(fleet.terminate(service) == 0, "\(service) did not end in order")
        }
    }
}
