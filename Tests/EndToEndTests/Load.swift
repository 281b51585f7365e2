import Glibc
import TestSupport

/// Riders that book the same few drivers at the same instants, drivers that end the trips, over REST, each with a token of
/// their own, and everything that they were told: the history of a run, for lincheck, and what has to be true afterwards.
final class Load {
    /// For the programs: it is far more than people may ask.
    static let settings = ["CABSTAND_RATE_LIMIT": "off"]

    /// A driver that an operator has registered, and who has signed in.
    struct Driver {
        let id: String
        let token: String
    }

    /// What a client was told about a trip.
    struct Told {
        let driver: String
        var ended = false
        /// Whether an end was asked for without an answer.
        var mayHaveEnded = false
    }

    /// One rider's slot: at most one request under way.
    private final class Slot {
        let number: Int
        /// The rider's.
        let connection: HTTPConnection
        var round = 0
        /// The trip that is to be ended next.
        var open: (trip: String, driver: String, key: String)?
        /// A booking without an answer, to be repeated with the same key and body.
        var unknown: (body: String, driver: String, key: String)?

        init(number: Int, _ connection: HTTPConnection) {
            self.number = number
            self.connection = connection
        }
    }

    /// One request under way.
    private struct Sent {
        let slot: Slot
        let call: Int64
        let operation: Operation
        let isSent: Bool

        enum Operation {
            case book(body: String, driver: String, key: String)
            case end(trip: String, driver: String, key: String)
        }
    }

    private(set) var trips: [String: Told] = [:]
    private(set) var counts: [String: Int] = [:]
    private var history: [String] = []
    private let slots: [Slot]
    private let drivers: [Driver]
    private let prefix: String

    init(_ fleet: Fleet, drivers: [Driver], riders: Int, prefix: String) throws {
        self.drivers = drivers
        self.prefix = prefix
        slots = try (0..<riders).map {
            Slot(number: $0, HTTPConnection(port: fleet.httpPort, token: try fleet.guest()))
        }
    }

    /// Registers `count` drivers, who sign in.
    static func register(_ count: Int, on fleet: Fleet) throws -> [Driver] {
        let connection = fleet.connection()
        return try (0..<count).map { number in
            let id = "driver-\(number)"
            let vehicle =
                #"{"make":"Skoda","model":"Octavia","color":"white","plate":"NB-C \#(number)","category":"standard"}"#
            let body = #"{"id":"\#(id)","name":"D\#(number)","vehicle":\#(vehicle),"lat":53.55,"lon":13.26}"#
            let response = connection.request("POST", "/drivers", body)
            guard response?.status == 201 else {
                throw LoadError(description: "no driver: \(response.map { "\($0)" } ?? "no answer")")
            }
            return Driver(id: id, token: try fleet.enrol(driver: id))
        }
    }

    /// One request of every rider, all of them sent before the first answer is read.
    ///
    /// - Parameter accident: what happens while they are all on their way.
    func step(with accident: (() -> Void)? = nil) {
        let sent = slots.map(send)
        accident?()
        for one in sent { receive(one) }
    }

    private func send(_ slot: Slot) -> Sent {
        let call = monotonicNow()
        if let open = slot.open {
            let token = drivers.first { $0.id == open.driver }?.token ?? ""
            let isSent = slot.connection.send(
                "POST", "/trips/\(open.trip)/complete", headers: ["Authorization": "Bearer \(token)"])
            return Sent(
                slot: slot, call: call, operation: .end(trip: open.trip, driver: open.driver, key: open.key),
                isSent: isSent)
        }
        let (body, driver, key) = slot.unknown ?? next(slot)
        slot.unknown = (body, driver, key)
        let isSent = slot.connection.send("POST", "/trips", body, headers: ["Idempotency-Key": key])
        return Sent(
            slot: slot, call: call, operation: .book(body: body, driver: driver, key: key), isSent: isSent)
    }

    private func next(_ slot: Slot) -> (String, String, String) {
        slot.round += 1
        let key = "\(prefix)-\(slot.number)-\(slot.round)"
        // Neighbours want the same driver.
        let driver = drivers[(slot.number / 2 + slot.round) % drivers.count].id
        let places = #""pickup":{"lat":53.55,"lon":13.26},"dropoff":{"lat":53.56,"lon":13.27}"#
        return (#"{"driver_id":"\#(driver)",\#(places)}"#, driver, key)
    }

    private func receive(_ sent: Sent) {
        let response = sent.isSent ? sent.slot.connection.receive() : nil
        counts["\(response?.status ?? 0)", default: 0] += 1
        switch sent.operation {
        case .book(_, let driver, let key):
            var result = "unknown"
            if response?.status == 201, let trip = response?.text("id") {
                result = "ok"
                trips[trip] = trips[trip] ?? Told(driver: driver)
                sent.slot.open = (trip, driver, key)
                sent.slot.unknown = nil
            } else if response?.status == 409, response?.text("code") == "driver-unavailable" {
                result = "busy"
                sent.slot.unknown = nil
            } else if let response, response.status < 500, response.text("code") != "key-in-progress" {
                counts["unexpected: \(response.status) \(response.body.prefix(300))", default: 0] += 1
                sent.slot.unknown = nil
            }
            note(sent, "acquire", driver, key, result)
        case .end(let trip, let driver, let key):
            var result = "unknown"
            if response?.status == 200 {
                result = "ok"
                trips[trip]?.ended = true
                sent.slot.open = nil
            } else {
                trips[trip]?.mayHaveEnded = true
                if let response, response.status < 500 {
                    counts["unexpected: \(response.status) \(response.body.prefix(300))", default: 0] += 1
                }
            }
            note(sent, "release", driver, key, result)
        }
    }

    /// What nobody should have been told.
    var unexpected: [String] { counts.keys.filter { $0.hasPrefix("unexpected") } }

    private func note(_ sent: Sent, _ operation: String, _ driver: String, _ key: String, _ result: String) {
        let back = result == "unknown" ? "null" : "\(monotonicNow())"
        // A rider without an answer goes on as somebody else: for the checker his operation never returned.
        let client = sent.slot.number + 1000 * (unknowns[sent.slot.number] ?? 0)
        if result == "unknown" { unknowns[sent.slot.number, default: 0] += 1 }
        history.append(
            #"{"client":\#(client),"call":\#(sent.call),"return":\#(back),"op":"\#(operation)","#
                + #""resource":"\#(driver)","key":"\#(key)","result":"\#(result)"}"#)
    }

    private var unknowns: [Int: Int] = [:]

    /// Steps until no rider waits for an answer that was lost, or `seconds` have passed.
    func settle(seconds: Double) -> Bool {
        waitUntil(seconds) {
            if slots.allSatisfy({ $0.unknown == nil }) { return true }
            step()
            usleep(20_000)
            return slots.allSatisfy { $0.unknown == nil }
        }
    }

    /// The verdict of lincheck on everything that was told; nil: the tool is not on this machine.
    func isLinearizable() throws -> Bool? {
        guard let tool = Tool.find("lincheck") else { return nil }
        let folder = TemporaryFolder()
        let file = folder.write("history.jsonl", history.joined(separator: "\n") + "\n")
        let result = try ChildProcess.run(tool, [file], timeout: 120)
        guard result.status == 0 || result.status == 1 else {
            throw LoadError(description: "lincheck: \(result.status) \(result.output)\(result.errors)")
        }
        return result.status == 0
    }
}

/// A run that could not be set up or judged.
struct LoadError: Error, CustomStringConvertible {
    let description: String
}

/// Nanoseconds.
func monotonicNow() -> Int64 {
    var now = timespec()
    unsafe clock_gettime(CLOCK_MONOTONIC, &now)
    return Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)
}
