import Basics
import RideDomain
import Testing

@testable import GatewayService

@Suite struct LiveTileTests {
    @Test(arguments: 0..<4 as Range<UInt64>)
    func everyPointOfABoxIsInExactlyOneOfItsTiles(seed: UInt64) throws {
        var random = SplitMix(seed: seed)
        for _ in 0..<200 {
            let west = Double.random(in: -180...180, using: &random)
            let widths: [Double] = [0.001, 0.2, 5, 170, 359]
            let width = widths[Int.random(in: 0..<5, using: &random)]
            let east = west + width > 180 ? west + width - 360 : west + width
            let south = Double.random(in: -90...89, using: &random)
            let height = Double.random(in: 0...width, using: &random)
            let box = Box(west: west, south: south, east: east, north: min(90, south + height))
            let tiles = try #require(LiveTile.cover(box, atMost: 128))
            #expect(tiles.count <= 128 && Set(tiles).count == tiles.count)
            #expect(Set(tiles.map { $0.level }).count == 1)
            let middle = west + width / 2
            for lat in [box.south, box.north] {
                for lon in [box.west, middle > 180 ? middle - 360 : middle, box.east] {
                    let position = Position(lat: lat, lon: lon)
                    let cell = GeoCell(position)
                    let holding = tiles.filter { $0.contains(cell) }
                    #expect(holding.count == 1, "\(box) \(position)")
                    #expect(holding.allSatisfy { $0.box.contains(position) })
                }
            }
        }
    }

    @Test func aStreetHasTheFinestTilesAndTheEarthTheCoarsest() throws {
        let street = try #require(LiveTile.cover(Box(west: 13, south: 52, east: 13.005, north: 52.005), atMost: 128))
        #expect(street.count <= 4 && street[0].level == 0)
        let earth = try #require(LiveTile.cover(.everywhere, atMost: 128))
        #expect(earth.count == 45 && earth[0].level == LiveTile.levels - 1)
        #expect(LiveTile.cover(.everywhere, atMost: 44) == nil)
        #expect(LiveTile(key: street[0].key) == street[0])
    }
}
