import Memory
import Reactor
import WebSockets

/// The compressed form of a frame (RFC 7692): made at most once, when the first subscriber takes it, and then the same for all of
/// them, as it refers to nothing that was sent before.
extension TopicHub {
    /// Sends frames to one who takes compressed ones. False: output waits there.
    @inline(never)
    func sendCompressed(_ numbers: ClosedRange<UInt64>, to subscriber: Place<Subscriber>, _ topic: Place<Topic>) -> Bool
    {
        let id = subscriber.value.id
        guard let first = form(numbers.lowerBound, for: subscriber, topic) else { return true }
        guard loop.sendUnlessBacklogged(id, shared: first) else { return false }
        for number in numbers.dropFirst() {
            if let frame = form(number, for: subscriber, topic) { loop.send(id, shared: frame) }
        }
        server.forgetHistory(id)
        return true
    }

    /// What this subscriber is given of a frame.
    private func form(_ number: UInt64, for subscriber: Place<Subscriber>, _ topic: Place<Topic>) -> SharedBytes? {
        guard let frame = topic.value.frames.frame(number) else { return nil }
        let bits = subscriber.value.windowBits
        // In a smaller window than the largest, nothing is further back than the frame is long.
        guard bits == 15 || frame.count <= 1 << Int(bits) else { return frame }
        if let made = topic.value.frames.compressedFrame(number) { return made }
        return compress(frame, number, topic)
    }

    /// Makes the compressed form, and keeps it. The frame itself where it is too short or has too few takers, and without keeping
    /// it when this turn has compressed its share.
    private func compress(_ frame: SharedBytes, _ number: UInt64, _ topic: Place<Topic>) -> SharedBytes {
        guard let options = server.deflate, topic.value.takers >= options.minimumTakers,
            frame.count >= options.minimumSharedSize, mayCompress(frame.count, perTurn: options.sharedBytesPerTurn)
        else { return frame }
        let compressed = server.deflateForMany(frame) ?? frame
        topic.value.frames.keepCompressed(number, compressed)
        return compressed
    }
}
