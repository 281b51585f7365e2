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
            #expect(seen.id == "d1" && seen.name == given)
            #expect(
                seen.vehicle == Vehicle(make: "VW", model: "Golf", color: "white", plate: "", category: "standard"))
        }
    }
}
