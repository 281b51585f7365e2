import KafkaClient
import Reactor
import RideAPI
import TestSupport

/// Everything that is in `trip_events`, read from its beginning.
final class TripEventLog {
    private(set) var kinds: [String: Set<String>] = [:]
    private(set) var seqs: [String: [UInt64]] = [:]
    private(set) var count = 0

    /// Reads until `isEnough` or `seconds` have passed.
    init(bootstrapServers: String, seconds: UInt64 = 30, until isEnough: (TripEventLog) -> Bool) throws {
        let loop = try EventLoop()
        let consumer = try KafkaConsumer(
            loop: loop,
            configuration: KafkaConfiguration(
                bootstrapServers: bootstrapServers, properties: EmbeddedBroker.properties),
            topic: "trip_events", start: .beginning)
        consumer.onRecord = { [unowned self] record in
            count += 1
            guard case .trip(let event) = try? RideEvent(decoding: record.value) else { return }
            kinds[event.tripID, default: []].insert(event.kind.rawValue)
            seqs[event.driverID, default: []].append(event.seq)
        }
        var isLate = false
        loop.schedule(after: seconds * 1_000_000_000) { isLate = true }
        while !isLate && !isEnough(self) { loop.turn() }
        var isClosed = false
        consumer.close { isClosed = true }
        while !isClosed { loop.turn() }
    }

    /// Drivers whose events, each at its first sight, are not in order.
    var driversOutOfOrder: [String] {
        seqs.filter { _, all in
            var seen: Set<UInt64> = []
            let first = all.filter { seen.insert($0).inserted }
            return first != first.sorted()
        }.map(\.key)
    }
}
