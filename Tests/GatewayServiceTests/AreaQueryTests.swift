import GatewayService
import RideDomain
import Testing

@Suite struct AreaQueryTests {
    private func parse(_ text: String, _ surface: AreaParameters.Surface = .list) throws -> AreaQuery {
        try AreaParameters(pairs(text), surface).query()
    }

    private func pairs(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: "&").map { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            return (String(parts[0]), parts.count > 1 ? String(parts[1]) : "")
        }
    }

    private func refusal(_ text: String, _ surface: AreaParameters.Surface = .list) -> ParameterError? {
        do {
            _ = try AreaParameters(pairs(text), surface).query()
            return nil
        } catch { return error }
    }

    @Test func contract_everyKindOfArea() throws {
        #expect(try parse("") == AreaQuery(.everywhere, limit: 1_000))
        #expect(try parse("limit=10") == AreaQuery(limit: 10))
        let position = Position(lat: 53.5, lon: 13.25)
        #expect(try parse("lat=53.5&lon=13.25") == AreaQuery(.around(position, radius: nil)))
        #expect(
            try parse("lat=53.5&lon=13.25&radius_m=100000&limit=10000")
                == AreaQuery(.around(position, radius: 100_000), limit: 10_000))
        let box = Box(west: 170, south: -10, east: -170, north: 10)
        #expect(try parse("bbox=170,-10,-170,10") == AreaQuery(.box(box)))
        #expect(try AreaParameters(pairs("interval_ms=50"), .live).interval == 50)
        #expect(try AreaParameters([], .live).interval == nil)
        #expect(try AreaParameters(pairs("category=van"), .list).category == "van")
        #expect(refusal("category=van", .live)?.parameter == "category")
    }

    @Test func contract_theDetailSaysTheValueTheRuleAndTheRemedy() {
        #expect(refusal("lat=91&lon=0")?.detail == "lat is 91; it must be between -90 and 90.")
        #expect(refusal("lat=x&lon=0")?.detail == "lat is \"x\"; it must be between -90 and 90.")
        #expect(refusal("lat=&lon=0")?.detail == "lat is empty; it must be between -90 and 90.")
        #expect(refusal("lat=1")?.detail == "lat is given without lon; give both or neither.")
        #expect(refusal("radius_m=5")?.parameter == "radius_m")
        #expect(refusal("limit=1.5")?.detail == "limit is 1.5; it must be a whole number between 1 and 10000.")
        #expect(
            refusal("bbox=0,10,0,-10")?.detail
                == "bbox has south 10 above north -10; the order is west,south,east,north.")
    }

    @Test(arguments: [
        ("lat=91&lon=0", "lat"), ("lat=0&lon=-180.1", "lon"), ("lat=nan&lon=0", "lat"), ("lat=inf&lon=0", "lat"),
        ("lat=0x1&lon=0", "lat"), ("lat=1e999&lon=0", "lat"), ("lat=+1&lon=0", "lat"), ("lon=1", "lat"),
        ("lat=1&lon=1&radius_m=0", "radius_m"), ("lat=1&lon=1&radius_m=100001", "radius_m"), ("limit=0", "limit"),
        ("limit=10001", "limit"), ("limit=1&limit=2", "limit"), ("lat=1&lat=1&lon=1", "lat"), ("bbox=1,2,3", "bbox"),
        ("bbox=1,2,3,4,5", "bbox"), ("bbox=1,2,3,x", "bbox"), ("bbox=1,2,3,91", "bbox"), ("bbox=-181,2,3,4", "bbox"),
        ("bbox=1,2,3,4&bbox=1,2,3,4", "bbox"), ("bbox=1,2,3,4&lat=1&lon=1", "bbox"), ("colour=red", "colour"),
        ("interval_ms=100", "interval_ms"),
    ])
    func contract_whatIsRefusedIsNamed(text: String, parameter: String) {
        #expect(refusal(text)?.parameter == parameter)
    }

    @Test(arguments: ["interval_ms=49", "interval_ms=60001", "interval_ms=70.5"])
    func contract_intervalIsBounded(text: String) {
        #expect(refusal(text, .live)?.parameter == "interval_ms")
    }
}
