import Testing

@testable import Settings

/// A product's own settings: nothing but a structure with properties.
private struct ShopSettings: SettingsCatalogue {
    static let prefix = "SHOP_"
    static let otherVariables: Set<String> = ["SHOP_BUILD"]

    let port = Setting.integer("PORT", default: 8080, 1...65_535, help: "Where the shop listens.")
        .withDefault("9090", in: "worker")
    let queue = Setting.text("QUEUE", default: "orders", allowed: "a name", help: "Where orders wait.").of("worker")
    let pause = Setting.optionalInteger("PAUSE_S", 0...60, unit: "seconds", help: "Rest between two orders.")
}

@Suite struct CatalogueTests {
    private let shop = SettingsDeclaration<ShopSettings>(program: "shop", summary: "Sells.")
    private let worker = SettingsDeclaration<ShopSettings>(program: "worker", summary: "Packs.")

    private func values(
        _ declaration: SettingsDeclaration<ShopSettings>, _ arguments: [String] = [],
        _ environment: [String: String] = [:]
    ) throws -> SettingsValues<ShopSettings> {
        guard case .run(let values) = try declaration.read(arguments: arguments, environment: environment) else {
            throw SettingsError(lines: ["nothing to run"])
        }
        return values
    }

    @Test func allSettingsAreThePropertiesInTheirOrder() {
        #expect(ShopSettings.all.map(\.name) == ["PORT", "QUEUE", "PAUSE_S"])
        #expect(
            ShopSettings.table.contains("| `SHOP_PORT` | `8080` | a number from 1 to 65535 | Where the shop listens. |")
        )
    }

    @Test func aProgramHasItsOwnSettingsAndDefaults() throws {
        #expect(try values(shop).port == 8080)
        #expect(try values(worker).port == 9090)
        #expect(try values(worker, ["--queue", "returns"]).queue == "returns")
        #expect(throws: SettingsError.self) { try values(shop, ["--queue", "returns"]) }
        #expect(!shop.help.contains("SHOP_QUEUE"))
        #expect(worker.help.contains("--port VALUE    SHOP_PORT"))
        #expect(worker.help.contains("Default: 9090"))
    }

    @Test func aVariableOfAnotherProgramOrOfSomebodyElseIsNoWarning() throws {
        let environment = ["SHOP_QUEUE": "x", "SHOP_BUILD": "1", "SHOP_PROT": "1"]
        #expect(
            try values(shop, [], environment).warnings == ["SHOP_PROT is not a setting; the nearest one is SHOP_PORT."])
    }

    @Test func whatIsGivenIsKnownAndCanBeReplaced() throws {
        let given = try values(shop, ["--pause-s=5"])
        #expect(given.isGiven(\.pause) && !given.isGiven(\.port))
        #expect(given.variable(\.pause) == "SHOP_PAUSE_S")
        let replaced = given.replacing(\.pause, with: "")
        #expect(given.pause == 5 && replaced.pause == nil)
    }
}
