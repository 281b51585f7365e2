import Bytes
import RideAPI
import RideDomain

/// What Kafka's records and the bodies of requests may hold: accepted and written again, or refused.
func fuzzEvents(_ bytes: [UInt8]) throws {
    var input = FuzzInput(bytes)
    let kind = input.choice(5)
    let text = input.rest()
    switch kind {
    case 0: _ = try? RequestBodies.registerDriver(text.span)
    case 1: _ = try? RequestBodies.createTrip(text.span)
    case 2: _ = try? RequestBodies.driverStatus(text.span)
    case 3: _ = try? RequestBodies.driverPosition(text.span)
    default: try event(text)
    }
}

private func event(_ bytes: [UInt8]) throws {
    if let revocation = try? Revocation(decoding: bytes.span) {
        var buffer = ByteBuffer()
        revocation.encode(into: &buffer)
        let again = try? Revocation(decoding: buffer.span)
        try promise(again == revocation, "\(revocation) became \(String(describing: again))")
    }
    guard let event = try? RideEvent(decoding: bytes.span) else { return }
    var buffer = ByteBuffer()
    switch event {
    case .driverLocationUpdate(let update): update.encode(into: &buffer)
    case .trip(let change):
        return try promise(
            Identifier.isWellFormed(change.driverID) && Identifier.isWellFormed(change.tripID),
            "\(change) was accepted")
    case .other: return
    }
    let again = try? RideEvent(decoding: buffer.span)
    guard let again else { throw BrokenPromise(description: "written, it can't be read: \(event)") }
    if case .driverLocationUpdate(let before) = event, case .driverLocationUpdate(let after) = again {
        try promise(before.driverID == after.driverID && before.status == after.status, "\(before) became \(after)")
    }
}
