/// A cell of 0.01° by 0.01° (about 1.1 km from south to north): what becomes dirty when a driver moves, and what is
/// fetched again.
public struct GeoCell: Hashable, Sendable, Comparable {
    /// Cells per degree.
    public static let perDegree = 100.0
    static let columns: Int32 = 36_000
    static let rows: Int32 = 18_000

    /// Counted from the south pole, 0..<18,000.
    public let row: Int32
    /// Counted from the antimeridian eastwards, 0..<36,000.
    public let column: Int32

    public init(row: Int32, column: Int32) {
        self.row = row
        self.column = column
    }

    /// The cell that holds a position. The north pole and 180° belong to the last row and column; what is no position (a
    /// file or a peer may say anything) is in the cell that is nearest, or in the first.
    public init(_ position: Position) {
        row = Self.row(position.lat)
        column = Self.column(position.lon)
    }

    static func row(_ lat: Double) -> Int32 {
        place((lat + 90) * perDegree, of: rows)
    }

    static func column(_ lon: Double) -> Int32 {
        place((lon + 180) * perDegree, of: columns)
    }

    /// The row or column, 0..<count, that a distance from the first border lies in.
    static func place(_ value: Double, of count: Int32) -> Int32 {
        // NaN compares false to both.
        if value >= Double(count) { return count - 1 }
        return value > 0 ? Int32(value) : 0
    }

    /// The cell's borders. Neighbours share them, so a point on a border may be answered twice; it has one cell only.
    public var box: Box {
        Box(
            west: Double(column) / Self.perDegree - 180, south: Double(row) / Self.perDegree - 90,
            east: Double(column + 1) / Self.perDegree - 180, north: Double(row + 1) / Self.perDegree - 90)
    }

    public static func < (left: GeoCell, right: GeoCell) -> Bool {
        left.row != right.row ? left.row < right.row : left.column < right.column
    }

    /// Number of cells that `box` touches; a box that is not valid touches none.
    public static func count(in box: Box) -> Int {
        guard box.isValid else { return 0 }
        let height = Int(row(box.north) - row(box.south) + 1)
        return columnRanges(box).reduce(0) { $0 + $1.count } * height
    }

    /// Calls `body` with every cell that `box` touches, in order.
    public static func forEach(in box: Box, _ body: (GeoCell) -> Void) {
        guard box.isValid else { return }
        let ranges = columnRanges(box)
        for row in row(box.south)...row(box.north) {
            for range in ranges { for column in range { body(GeoCell(row: row, column: column)) } }
        }
    }

    /// One range of columns, or two when the box crosses the antimeridian.
    private static func columnRanges(_ box: Box) -> [ClosedRange<Int32>] {
        let west = column(box.west)
        let east = column(box.east)
        guard box.crossesAntimeridian else { return [west...east] }
        return west > east ? [0...east, west...(columns - 1)] : [0...(columns - 1)]
    }
}
