import CLinux
import CRdKafka
import Reactor
import Telemetry

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Brings one librdkafka queue onto a loop: librdkafka writes to an eventfd, the loop drains the queue.
///
/// The scar: the descriptor fires only when the queue goes from empty to non-empty. Whoever stops before the queue is
/// empty hears nothing any more. So it is drained until nil; a turn's budget that ends earlier writes the eventfd
/// itself; and a timer drains once a second, whatever the descriptor says.
@safe final class EventPump {
    /// Nanoseconds.
    private static let safetyInterval: UInt64 = 1_000_000_000

    private let loop: EventLoop
    private let queue: OpaquePointer
    private let descriptor: Int32
    private let budget: Int
    private var watch: WatchID?
    private var timer: TimerID?
    private var paused = false
    /// Called once per event, on the loop; the event is destroyed behind it.
    private let handle: (OpaquePointer) -> Void
    /// Called after a drain that saw at least one event.
    private let drained: () -> Void

    /// - Parameter queue: owned from here on.
    init(
        loop: EventLoop, queue: OpaquePointer, budget: Int, drained: @escaping () -> Void,
        handle: @escaping (OpaquePointer) -> Void
    ) throws(KafkaError) {
        self.loop = loop
        unsafe self.queue = queue
        self.budget = budget
        self.drained = drained
        unsafe self.handle = unsafe handle
        descriptor = eventfd(0, Int32(EFD_NONBLOCK | EFD_CLOEXEC))
        guard descriptor >= 0 else {
            unsafe rd_kafka_queue_destroy(queue)
            throw KafkaError.configuration("no eventfd for the Kafka queue: errno \(errno)")
        }
        do {
            watch = try loop.watch(readable: descriptor) { [weak self] in self?.drain() }
        } catch {
            unsafe rd_kafka_queue_destroy(queue)
            Glibc.close(descriptor)
            throw KafkaError.configuration("the loop cannot watch the Kafka queue: \(error)")
        }
        var one: UInt64 = 1
        // The payload is what an eventfd takes: eight bytes that are added to its count.
        unsafe rd_kafka_queue_io_event_enable(queue, descriptor, &one, MemoryLayout<UInt64>.size)
        timer = loop.schedule(every: Self.safetyInterval) { [weak self] in self?.drain() }
        // What was queued before the descriptor was set has fired nothing.
        signal()
    }

    /// Stops taking events; librdkafka's own bounds stop the fetching behind it.
    func pause() { paused = true }

    func resume() {
        if !paused { return }
        paused = false
        signal()
    }

    /// Ends for good. After this no event is delivered, and the client may be destroyed.
    func stop() {
        guard let watch else { return }
        self.watch = nil
        loop.unwatch(watch)
        if let timer { loop.cancel(timer) }
        unsafe rd_kafka_queue_io_event_enable(queue, -1, nil, 0)
        unsafe rd_kafka_queue_destroy(queue)
        Glibc.close(descriptor)
    }

    private func signal() {
        var one: UInt64 = 1
        _ = unsafe write(descriptor, &one, MemoryLayout<UInt64>.size)
    }

    private func drain() {
        if watch == nil { return }
        var count: UInt64 = 0
        _ = unsafe read(descriptor, &count, MemoryLayout<UInt64>.size)
        var taken = 0
        while !paused, watch != nil {
            if taken == budget {
                signal()
                break
            }
            guard let event = unsafe rd_kafka_queue_poll(queue, 0) else { break }
            taken += 1
            unsafe handle(event)
            unsafe rd_kafka_event_destroy(event)
        }
        if taken > 0 { drained() }
    }
}
