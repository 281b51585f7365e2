import RideDomain

/// A piece of the map that is fetched as a whole, once, however many views show it: a square of cells of 0.01°, four times
/// as long on each level.
///
///     level   0      1      2      3      4      5       6
///     side    0.01°  0.04°  0.16°  0.64°  2.56°  10.24°  40.96°
struct LiveTile: Hashable, Sendable {
    static let levels = 7
    /// Level, row and column in one number; never 0.
    let key: UInt64

    init(level: Int, row: Int32, column: Int32) {
        key = UInt64(level + 1) << 48 | UInt64(UInt32(bitPattern: row)) << 24 | UInt64(UInt32(bitPattern: column))
    }

    /// The tile of a level that holds a cell.
    init(_ cell: GeoCell, level: Int) {
        self.init(level: level, row: cell.row >> Int32(level * 2), column: cell.column >> Int32(level * 2))
    }

    init(key: UInt64) { self.key = key }

    var level: Int { Int(key >> 48) - 1 }
    private var row: Int32 { Int32(key >> 24 & 0xFF_FFFF) }
    private var column: Int32 { Int32(key & 0xFF_FFFF) }

    /// Whether a driver in `cell` belongs here. A point on a border is answered for both tiles and has one.
    func contains(_ cell: GeoCell) -> Bool { self == LiveTile(cell, level: level) }

    /// What the driver service is asked. Borders are decimal fractions and no binary ones: without a centimetre more, a driver
    /// on a border could be in neither of two boxes.
    var box: Box {
        let side = Int32(1) << Int32(level * 2)
        let first = GeoCell(row: row * side, column: column * side).box
        let last = GeoCell(row: row * side + side - 1, column: column * side + side - 1).box
        let margin = 1e-7
        return Box(
            west: max(-180, first.west - margin), south: max(-90, first.south - margin),
            east: min(180, last.east + margin), north: min(90, last.north + margin))
    }

    /// The tiles that cover `box`: the finest of which there are at most `limit`; nil if even the coarsest are more.
    static func cover(_ box: Box, atMost limit: Int) -> [LiveTile]? {
        guard box.isValid else { return nil }
        let first = GeoCell(Position(lat: box.south, lon: box.west))
        let last = GeoCell(Position(lat: box.north, lon: box.east))
        for level in 0..<levels {
            let shift = Int32(level * 2)
            let rows = first.row >> shift...last.row >> shift
            let columns = columns(from: first.column >> shift, to: last.column >> shift, shift, box.crossesAntimeridian)
            guard rows.count * columns.reduce(0, { $0 + $1.count }) <= limit else { continue }
            return rows.flatMap { row in
                columns.flatMap { $0.map { LiveTile(level: level, row: row, column: $0) } }
            }
        }
        return nil
    }

    /// One range of columns, or two when the box crosses the antimeridian.
    private static func columns(
        from west: Int32, to east: Int32, _ shift: Int32, _ crossesAntimeridian: Bool
    ) -> [ClosedRange<Int32>] {
        guard crossesAntimeridian else { return [west...east] }
        let end = GeoCell(Position(lat: 0, lon: 180)).column >> shift
        return west > east ? [0...east, west...end] : [0...end]
    }
}

/// What is fetched: a tile, which many views share, or a view of its own.
enum LiveUnit: Hashable, Sendable {
    /// Every free car there.
    case tile(LiveTile)
    /// Exactly the list of one query, no longer than its limit: where tiles would bring many times that.
    case exact(AreaQuery)
}

extension AreaQuery {
    /// The box around everything that may be in the list; nil: the whole Earth is.
    var box: Box? {
        switch area {
        case .everywhere, .around(_, radius: nil): nil
        case .around(let center, .some(let radius)): Box(around: center, radius: radius)
        case .box(let box): box
        }
    }
}
