import Basics
import RideDomain

/// Who the simulated drivers are: the same number is always the same driver.
enum SimulatedProfiles {
    static func id(_ number: Int) -> String {
        let digits = String(number)
        return Identifier.simulatedDriverPrefix + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }

    static func profile(_ number: Int) -> DriverProfile {
        var random = SplitMix(seed: UInt64(number))
        let car = cars[Int.random(in: 0..<cars.count, using: &random)]
        let letters = Array("ABCDEFGHJKLMNPRSTUVWXYZ")
        let plate =
            "NB-\(letters[Int.random(in: 0..<letters.count, using: &random)])"
            + "\(letters[Int.random(in: 0..<letters.count, using: &random)]) \(100 + number % 9_900)"
        return DriverProfile(
            id: id(number),
            name: "\(names[Int.random(in: 0..<names.count, using: &random)]) "
                + "\(letters[Int.random(in: 0..<letters.count, using: &random)]).",
            vehicle: Vehicle(
                make: car.make, model: car.model, color: colors[Int.random(in: 0..<colors.count, using: &random)],
                plate: plate, category: car.category))
    }

    private static let names = [
        "Anna", "Ben", "Carla", "Daniel", "Elif", "Finn", "Greta", "Hannes", "Ida", "Jonas", "Katja", "Lars", "Mila",
        "Nils", "Olga", "Paul", "Rosa", "Samir", "Tilda", "Uwe", "Vera", "Wanja", "Yusuf", "Zofia",
    ]
    private static let colors = ["white", "black", "silver", "blue", "red", "green", "yellow"]
    private static let cars: [(make: String, model: String, category: String)] = [
        ("Volkswagen", "ID.4", "standard"), ("Volkswagen", "Passat", "standard"), ("Škoda", "Octavia", "standard"),
        ("Toyota", "Prius", "standard"), ("Dacia", "Jogger", "standard"), ("Mercedes-Benz", "E-Klasse", "comfort"),
        ("BMW", "i5", "comfort"), ("Volkswagen", "Multivan", "van"), ("Ford", "Tourneo", "van"),
    ]
}
