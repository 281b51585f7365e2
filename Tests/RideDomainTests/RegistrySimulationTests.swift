import Basics
import RideDomain
import Testing

/// The registry against a model that is too simple to be wrong, through everything that can happen to drivers.
@Suite struct RegistrySimulationTests {
    struct Model {
        var position: Position
        var isPresent = true
        var isSilent = false
        var heard: Int64?
        var trip: String?
        var isListed: Bool { isPresent && !isSilent && trip == nil }
    }

    @Test func everyListIsWhatTheModelSays() throws {
        for seed in 0..<25 {
            var random = SplitMix(seed: UInt64(seed))
            var registry = emptyRegistry()
            var model: [String: Model] = [:]
            var clock: Int64 = 0
            var seq: UInt64 = 0
            var lastRevision = registry.revision
            for _ in 0..<400 {
                clock += Int64.random(in: 0...8_000, using: &random)
                let now = firstMoment.advanced(by: clock)
                let id = "d\(Int.random(in: 0..<30, using: &random))"
                for slot in registry.expire(at: now) { model[registry[slot].id]!.isSilent = true }
                for entry in model where entry.value.isPresent && !entry.value.isSilent {
                    if let heard = entry.value.heard { #expect(clock - heard < 60_000, "seed \(seed)") }
                }
                guard let slot = registry.slot(of: id) else {
                    let position = randomPosition(&random, near: home, degrees: 0.05)
                    #expect(registry.register(profile(id), position: position, at: now).created)
                    model[id] = Model(position: position)
                    continue
                }
                switch Int.random(in: 0..<8, using: &random) {
                case 0, 1, 2, 3:
                    let near = Position(
                        lat: model[id]!.position.lat + Double.random(in: -0.001...0.001, using: &random),
                        lon: model[id]!.position.lon + Double.random(in: -0.001...0.001, using: &random))
                    #expect(registry.report(slot, LocationPoint(position: near), at: now) == nil)
                    model[id]!.position = near
                    model[id]!.isSilent = false
                    model[id]!.heard = clock
                case 4:
                    let wanted = Bool.random(using: &random)
                    if model[id]!.trip != nil {
                        #expect(throws: DriverRegistry.Refusal.self) { try registry.setPresent(slot, wanted, at: now) }
                    } else {
                        _ = try registry.setPresent(slot, wanted, at: now)
                        model[id]!.isPresent = wanted
                        model[id]!.isSilent = false
                        if model[id]!.heard != nil { model[id]!.heard = clock }
                    }
                case 5, 6:
                    seq += 1
                    let trip = model[id]!.trip ?? "t\(seq)"
                    let isActive = model[id]!.trip == nil
                    _ = registry.apply(
                        TripFact(driverID: id, tripID: trip, seq: seq, isActive: isActive), at: now)
                    model[id]!.trip = isActive ? trip : nil
                default:  // a restart
                    var restarted = DriverRegistry(
                        revisions: RevisionCounter(reserved: registry.revision + 7, wall: now.wall))
                    restarted.restore(registry.drivers.shuffled(using: &random), at: now)
                    registry = restarted
                    for key in model.keys where model[key]!.heard != nil { model[key]!.heard = clock }
                }
                #expect(registry.revision >= lastRevision)
                lastRevision = registry.revision
                let listed = model.filter(\.value.isListed)
                #expect(registry.availableIDs() == listed.keys.sorted(), "seed \(seed)")
                let from = randomPosition(&random, near: home, degrees: 0.02)
                let expected = listed.map { ($0.key, from.distance(to: $0.value.position)) }
                    .filter { $0.1 <= 3_000 }.sorted { $0.1 < $1.1 }.map(\.0)
                #expect(registry.availableIDs(.around(from, radius: 3_000)) == expected, "seed \(seed)")
                let box = Box(around: from, radius: 2_000)
                let inBox = listed.filter { box.contains($0.value.position) }.sorted {
                    box.center.distance(to: $0.value.position) < box.center.distance(to: $1.value.position)
                }
                #expect(registry.availableIDs(.box(box)) == inBox.map(\.key), "seed \(seed)")
                #expect(registry.availableIDs(.box(box), limit: 3) == inBox.prefix(3).map(\.key), "seed \(seed)")
                for status in DriverStatus.allCases {
                    let page = registry.page(status: status, after: nil, limit: 100).slots
                    #expect(page.allSatisfy { registry[$0].status == status })
                }
            }
        }
    }
}
