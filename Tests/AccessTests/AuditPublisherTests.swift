import Bytes
import ReactorSim
import RideAPI
import Testing

@testable import Access

/// Audit records on their way to Kafka.
@Suite struct AuditPublisherTests {
    private final class Outlet: AuditOutlet {
        var sent: [(number: UInt64, record: AuditRecord)] = []
        var room = Int.max

        func send(_ record: AuditRecord, number: UInt64) -> Bool {
            guard room > 0 else { return false }
            room -= 1
            sent.append((number, record))
            return true
        }
    }

    private func record(_ number: Int) -> AuditRecord {
        AuditRecord(
            eventID: "e\(number)", at: 1, service: "gateway", subject: "ada", roles: ["rider"], address: nil,
            operation: "createTrip", target: nil, outcome: .done, code: nil, requestID: "r")
    }

    @Test func recordsWaitForKafkaUpToABound() throws {
        let network = SimulatedNetwork(seed: 3)
        let loop = try network.makeLoop()
        let outlet = Outlet()
        outlet.room = 5
        let publisher = AuditPublisher(loop: loop, outlet: outlet, metrics: AuditMetrics(.gateway))
        for number in 0..<(AuditPublisher.limit + 7) { publisher.publish(record(number)) }
        #expect(publisher.count == AuditPublisher.limit && outlet.sent.count == 5)
        outlet.room = .max
        publisher.goOn()
        #expect(outlet.sent.map(\.record.eventID) == (0..<AuditPublisher.limit).map { "e\($0)" })
        for (number, _) in outlet.sent { publisher.delivered(number, failure: nil) }
        #expect(publisher.count == 0)
        publisher.publish(record(-1))
        #expect(outlet.sent.last?.record.eventID == "e-1")
    }

    @Test func aQueueThatIsNeverEmptyDoesNotGrow() throws {
        let network = SimulatedNetwork(seed: 5)
        let loop = try network.makeLoop()
        let outlet = Outlet()
        outlet.room = 0
        let publisher = AuditPublisher(loop: loop, outlet: outlet, metrics: AuditMetrics(.gateway))
        for number in 0..<10 { publisher.publish(record(number)) }
        // As fast as they come they go, but one is always left.
        for number in 10..<5_000 {
            outlet.room = 1
            publisher.publish(record(number))
            publisher.delivered(outlet.sent[number - 10].number, failure: nil)
        }
        #expect(publisher.count == 10 && publisher.queued <= 20)
        #expect(outlet.sent.map(\.record.eventID) == (0..<4_990).map { "e\($0)" })
    }

    @Test func whatKafkaRefusesIsTriedAgainLater() throws {
        let network = SimulatedNetwork(seed: 4)
        let loop = try network.makeLoop()
        let outlet = Outlet()
        let publisher = AuditPublisher(loop: loop, outlet: outlet, metrics: AuditMetrics(.gateway))
        publisher.publish(record(1))
        publisher.delivered(outlet.sent[0].number, failure: "no such topic")
        #expect(outlet.sent.count == 1 && publisher.count == 1)
        // What comes meanwhile waits behind it.
        publisher.publish(record(2))
        #expect(outlet.sent.count == 1)
        network.run(for: 6_000_000_000)
        #expect(outlet.sent.map(\.record.eventID) == ["e1", "e1", "e2"])
        for (number, _) in outlet.sent.dropFirst() { publisher.delivered(number, failure: nil) }
        #expect(publisher.count == 0)
    }

    @Test func aRecordIsJSONWithTheNamesOfREST() {
        var record = record(1)
        record.target = "t1"
        record.outcome = .denied
        record.code = "not-yours"
        record.address = "::1"
        record.traceID = "0af7651916cd43dd8448eb211c80319c"
        var value = ByteBuffer()
        record.encode(into: &value)
        #expect(
            String(decoding: value.array(), as: UTF8.self)
                == #"{"type":"Audit","event_id":"e1","at":"1970-01-01T00:00:00.001Z","service":"gateway","#
                + #""subject":"ada","roles":["rider"],"address":"::1","operation":"createTrip","target":"t1","#
                + #""outcome":"denied","code":"not-yours","request_id":"r","trace_id":"0af7651916cd43dd8448eb211c80319c"}"#
        )
    }
}
