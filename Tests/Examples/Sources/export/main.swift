// Measurements: one of them as JSON, and all of them as a table that is made while it is sent.
//   curl localhost:8080/measurements/7
//   curl localhost:8080/measurements.csv

import Glibc
import HTTPServer

/// What was measured.
struct Measurement: Encodable {
    let number: Int
    /// nil, which JSON leaves out: the sensor has failed.
    let degrees: Double?

    /// How many there are: too many to hold them all.
    static let count = 100_000

    /// One of them, from wherever they are.
    init(_ number: Int) {
        self.number = number
        degrees = number % 1000 == 0 ? nil : Double(number % 400) / 10
    }
}

let port = CommandLine.arguments.dropFirst().first.flatMap { UInt16($0) } ?? 8080
let status = Server.run(at: .loopback(port: port)) { router, loop in
    router.get("/measurements/{number}") { (request, response) throws(Problem) in
        guard let number = request.pathParameter("number").flatMap({ Int($0) }),
            (1...Measurement.count).contains(number)
        else { throw Problem(404, "no-measurement", "There is no such measurement.") }
        try response.json(Measurement(number))
    }
    router.get("/measurements.csv") { _, response in
        response.stream(200, "text/csv") { body in
            try await body.write("number,degrees\n")
            for first in stride(from: 1, through: Measurement.count, by: 100) {
                // Others are served meanwhile, and a slow client slows this down.
                await loop.pause(.milliseconds(1))
                try await body.write { piece in
                    for number in first..<(first + 100) {
                        let degrees = Measurement(number).degrees.map { "\($0)" } ?? ""
                        piece.append(utf8: "\(number),\(degrees)\n")
                    }
                }
            }
        }
    }
} ready: {
    print("http://\($0)/measurements")
}
exit(status)
