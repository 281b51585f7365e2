import RideDomain
import Testing

@Suite struct DriverProfileTests {
    @Test func aStrangerSeesTheGivenNameAndNoPlate() {
        let vehicle = Vehicle(make: "VW", model: "Golf", color: "white", plate: "NB-A 1", category: "standard")
        for (name, given) in [
            ("Ada Lovelace", "Ada"), ("Ada", "Ada"), ("Jean-Luc\u{A0}Picard", "Jean-Luc"), (" Åse  Kleveland", "Åse"),
            ("李 小龙", "李"), ("", ""), (" ", " "),
        ] {
            let profile = DriverProfile(id: "d1", name: name, vehicle: vehicle)
            #expect(profile.seen(as: .whole) == profile)
            let seen = profile.seen(as: .stranger)
            #expect(seen == profile.seen(as: .follower))
            #expect(seen.id == "d1" && seen.name == given)
            #expect(
                seen.vehicle == Vehicle(make: "VW", model: "Golf", color: "white", plate: "", category: "standard"))
        }
    }

    /// A car that can't be booked is on somebody's trip, or its driver is at home.
    @Test(arguments: DriverView.allCases) func aStrangerIsToldWhereACarIsAsLongAsItCanBeBooked(view: DriverView) {
        let free = Driver(
            profile: DriverProfile(
                id: "d1", name: "Ada", vehicle: Vehicle(make: "", model: "", color: "", plate: "", category: "")),
            position: Position(lat: 53, lon: 13), measuredAt: 1, updatedAt: 1, revision: 1)
        #expect(view.hasPosition(of: free))
        var (driving, away, silent) = (free, free, free)
        driving.activeTripID = "t1"
        away.presence = .offline
        silent.presence = .silent
        for driver in [driving, away, silent] { #expect(view.hasPosition(of: driver) == (view != .stranger)) }
    }
}
