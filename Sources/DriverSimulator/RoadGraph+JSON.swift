import Bytes
import JSONWire
import RideDomain

/// Why a file of streets can't be used.
enum RoadGraphError: Error, Equatable, CustomStringConvertible {
    case file(String)
    case format(String)
    case json(JSONError)
    /// A column is missing or not as long as the others, or a number points nowhere.
    case inconsistent(String)

    var description: String {
        switch self {
        case .file(let what): "the street data can't be read: \(what)"
        case .format(let found): "the street data has the format \"\(found)\"; it must be \"ride-roads/1\""
        case .json(let error): "the street data is not readable: \(error)"
        case .inconsistent(let what): "the street data is damaged: \(what)"
        }
    }
}

extension RoadGraph {
    /// The columns of `edges`, as they are in the file.
    private struct Columns {
        var from: [Int64] = []
        var to: [Int64] = []
        var speed: [Int64] = []
        var oneway: [Int64] = []
        var length: [Double] = []
        var shape: [[Int64]] = []
    }

    /// Reads `ride-roads/1`.
    /// Metres of a street between two crossings, and km/h on it. Reason: a car that comes past millions of crossings in a
    /// second keeps the loop for as long as it counts them.
    private static let lengths = 0.1...100_000.0
    private static let speeds: ClosedRange<Int64> = 1...300

    init(json: [UInt8]) throws(RoadGraphError) {
        var format = ""
        var origin: [Double] = []
        var scale = 1.0
        var flatNodes: [Int64] = []
        var columns = Columns()
        do {
            var limits = JSONLimits()
            limits.size = 64 << 20
            var reader = JSONReader(json.span, limits: limits)
            try reader.beginObject()
            while let name = try reader.nextMember() {
                switch reader.string(of: name) {
                case "format": format = try reader.readString()
                case "origin": origin = try Self.readDoubles(&reader)
                case "scale": scale = try reader.readDouble()
                case "nodes": flatNodes = try Self.readIntegers(&reader)
                case "edges": columns = try Self.readColumns(&reader)
                default: try reader.skipValue()
                }
            }
            try reader.finish()
        } catch {
            throw .json(error)
        }
        guard format == "ride-roads/1" else { throw .format(format) }
        guard origin.count == 2, scale > 0 else { throw .inconsistent("origin or scale") }
        let lon = origin[0]
        let lat = origin[1]
        var points: [(x: Int64, y: Int64)] = []
        var x: Int64 = 0
        var y: Int64 = 0
        for index in stride(from: 0, to: flatNodes.count - 1, by: 2) {
            x &+= flatNodes[index]
            y &+= flatNodes[index + 1]
            points.append((x, y))
        }
        func position(_ point: (x: Int64, y: Int64)) -> Position {
            Position(lat: lat + Double(point.y) / scale, lon: lon + Double(point.x) / scale)
        }
        let count = columns.from.count
        guard
            count > 0, columns.to.count == count, columns.speed.count == count, columns.oneway.count == count,
            columns.length.count == count, columns.shape.count == count
        else { throw .inconsistent("columns of edges") }
        var edges: [Edge] = []
        for index in 0..<count {
            let from = columns.from[index]
            let to = columns.to[index]
            guard
                points.indices.contains(Int(from)), points.indices.contains(Int(to)),
                Self.lengths.contains(columns.length[index]), Self.speeds.contains(columns.speed[index])
            else { throw .inconsistent("edge \(index)") }
            var line = [points[Int(from)]]
            let shape = columns.shape[index]
            for step in stride(from: 0, to: shape.count - 1, by: 2) {
                let last = line[line.count - 1]
                line.append((last.x &+ shape[step], last.y &+ shape[step + 1]))
            }
            line.append(points[Int(to)])
            guard line.allSatisfy({ position($0).isValid }) else { throw .inconsistent("edge \(index) lies nowhere") }
            edges.append(
                Edge(
                    from: Int32(clamping: from), to: Int32(clamping: to), length: columns.length[index],
                    kilometresPerHour: Double(columns.speed[index]), isOneway: columns.oneway[index] != 0,
                    points: line.map(position)))
        }
        self.init(nodes: points.map(position), edges: edges)
    }

    private static func readColumns(_ reader: inout JSONReader) throws(JSONError) -> Columns {
        var columns = Columns()
        try reader.beginObject()
        while let name = try reader.nextMember() {
            switch reader.string(of: name) {
            case "from": columns.from = try readIntegers(&reader)
            case "to": columns.to = try readIntegers(&reader)
            case "speed": columns.speed = try readIntegers(&reader)
            case "oneway": columns.oneway = try readIntegers(&reader)
            case "length": columns.length = try readDoubles(&reader)
            case "shape":
                try reader.beginArray()
                while try reader.nextElement() { columns.shape.append(try readIntegers(&reader)) }
            default: try reader.skipValue()
            }
        }
        return columns
    }

    private static func readIntegers(_ reader: inout JSONReader) throws(JSONError) -> [Int64] {
        var values: [Int64] = []
        try reader.beginArray()
        while try reader.nextElement() { values.append(try reader.readInt64()) }
        return values
    }

    private static func readDoubles(_ reader: inout JSONReader) throws(JSONError) -> [Double] {
        var values: [Double] = []
        try reader.beginArray()
        while try reader.nextElement() { values.append(try reader.readDouble()) }
        return values
    }
}

extension RoadGraph.Edge {
    /// An edge with its drawn distances.
    init(
        from: Int32, to: Int32, length: Double, kilometresPerHour: Double, isOneway: Bool, points: [Position]
    ) {
        var distances = [0.0]
        for index in 1..<points.count {
            distances.append(distances[index - 1] + points[index - 1].distance(to: points[index]))
        }
        self.init(
            from: from, to: to, length: length, speed: kilometresPerHour / 3.6, isOneway: isOneway, points: points,
            distances: distances)
    }
}
