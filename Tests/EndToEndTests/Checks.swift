import TestSupport
import Testing

/// What has to be true once things are quiet, whatever happened before.
enum Checks {
    /// Behaviours 33–35: every 201 is there, as far as it was told; nobody has two trips in progress.
    static func everythingToldIsThere(_ load: Load, _ fleet: Fleet) {
        let connection = fleet.connection()
        for (id, told) in load.trips {
            guard let trip = connection.request("GET", "/trips/\(id)"), trip.status == 200 else {
                Issue.record("trip \(id) is gone")
                continue
            }
            let status = trip.text("status") ?? ""
            if told.ended {
                #expect(status == "completed", "trip \(id) was told to be completed")
            } else if !told.mayHaveEnded {
                #expect(status == "in_progress", "trip \(id) was told to be in progress")
            }
        }
        let active = activeTrips(fleet)
        #expect(Set(active.map(\.driver)).count == active.count, "a driver has two trips in progress")
    }

    /// Trips in progress, over all pages.
    static func activeTrips(_ fleet: Fleet) -> [(id: String, driver: String)] {
        let connection = fleet.connection()
        var result: [(String, String)] = []
        var token: String?
        repeat {
            let path = "/trips?status=in_progress&page_size=100" + (token.map { "&page_token=\($0)" } ?? "")
            guard let page = connection.request("GET", path), page.status == 200 else {
                Issue.record("no list of trips")
                return result
            }
            for part in page.body.split(separator: #"{"id":""#).dropFirst() {
                let id = String(part.prefix { $0 != "\"" })
                guard let driver = part.firstRange(of: #""driver_id":""#) else { continue }
                result.append((id, String(part[driver.upperBound...].prefix { $0 != "\"" })))
            }
            token = page.text("next_page_token")
        } while token != nil
        return result
    }

    /// Behaviour 37: every change that was told is in `trip_events`, in order per driver.
    static func everyEventArrived(_ load: Load, bootstrapServers: String) throws {
        func isMissing(_ id: String, _ told: Load.Told, _ log: TripEventLog) -> Bool {
            guard let kinds = log.kinds[id], kinds.contains("TripCreated") else { return true }
            return told.ended && !kinds.contains("TripCompleted")
        }
        let log = try TripEventLog(bootstrapServers: bootstrapServers) { log in
            !load.trips.contains { isMissing($0.key, $0.value, log) }
        }
        let missing = load.trips.filter { isMissing($0.key, $0.value, log) }
        #expect(missing.isEmpty, "\(missing.count) of \(load.trips.count) changes are not in trip_events")
        #expect(log.driversOutOfOrder.isEmpty)
    }

    /// Behaviour 38: once things are quiet the list of available drivers is right again.
    static func theListIsRight(_ fleet: Fleet, drivers: [Load.Driver]) {
        let connection = fleet.connection()
        let busy = Set(activeTrips(fleet).map(\.driver))
        let expected = Set(drivers.map(\.id)).subtracting(busy)
        var seen: Set<String> = []
        let isRight = waitUntil(60) {
            guard let list = connection.request("GET", "/drivers/available"), list.status == 200 else { return false }
            seen = Set(
                list.body.split(separator: #"{"id":""#).dropFirst().map { String($0.prefix { $0 != "\"" }) })
            return seen == expected
        }
        #expect(isRight, "available: \(seen.count), expected \(expected.count)")
    }
}
