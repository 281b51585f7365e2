import Basics
import Bytes
import Reactor
import Synchronization
import WebSockets

/// Our own parts, one by one: nanoseconds per operation of what has no I/O, percentiles of what crosses threads and sockets.
enum MicroBenchmarks {
    static func run() throws {
        print("| part | ns per operation |\n|---|---|")
        try timers()
        appending()
        masking()
        deflating()
        limiting()
        CodecBenchmarks.run()
        print("\n| path | p50 us | p99 us | p99.9 us | max us |\n|---|---|---|---|---|")
        try roundTrip()
        try mailbox()
    }

    static func measure(_ name: String, _ count: Int, _ work: () -> Void) {
        let clock = ContinuousClock()
        work()
        let time = clock.measure(work)
        let (seconds, attoseconds) = time.components
        let nanoseconds = Double(seconds) * 1e9 + Double(attoseconds) / 1e9
        print("| \(name) | \((nanoseconds / Double(count) * 10).rounded() / 10) |")
    }

    private final class Silent: TimerHandler {}

    private static func timers() throws {
        let loop = try EventLoop()
        let handler = Silent()
        for standing in [0, 10_000] {
            for number in 0..<standing { loop.schedule(after: UInt64(number + 1) * 1_000_000_000, handler, 0) }
            measure("timer armed and cancelled, \(standing) others", 1_000_000) {
                for number in 0..<1_000_000 as Range<UInt64> {
                    loop.cancel(loop.schedule(after: number &* 7919 % 10_000_000_000, handler, number))
                }
            }
        }
    }

    private static func appending() {
        var buffer = ByteBuffer(capacity: 4096)
        measure("buffer: 16 bytes and a decimal appended", 1_000_000) {
            for number in 0..<1_000_000 {
                buffer.append("content-length: ")
                buffer.append(decimal: number)
                if buffer.count > 4000 { buffer.removeAll() }
            }
        }
    }

    private static func masking() {
        var bytes = [UInt8](repeating: 7, count: 2048)
        measure("WebSocket: 2,048 bytes unmasked", 100_000) {
            unsafe bytes.withUnsafeMutableBytes { bytes in
                for key in 0..<100_000 as Range<UInt32> { _ = unsafe Masking.apply(key | 1, to: bytes) }
            }
        }
    }

    /// Limits of ten thousand clients, which the caches hold, and of a million, which they do not.
    private static func limiting() {
        let quota = RateQuota(50, per: .seconds(1))
        for count in [10_000, 1_000_000] {
            var random = SplitMix(seed: 1)
            let keys = (0..<count).map { _ in random.next() }
            let table = RateTable(capacity: count * 3 / 2)
            var now: UInt64 = 1
            let name = "rate limit: one of \(count) keys, \(table.capacity * 16 / count) bytes each"
            measure(name, count * (1_000_000 / count)) {
                for _ in 0..<(1_000_000 / count) {
                    for key in keys {
                        now &+= 1_000
                        _ = table.take(key, quota, now: now)
                    }
                }
            }
        }
    }

    /// A live list of forty cars, as it is compressed once for all who look at it.
    private static func deflating() {
        var list = ByteBuffer()
        var random = SplitMix(seed: 1)
        while list.count < 13_000 {
            let (id, place) = (random.next(), Double(random.next() % 10_000) / 1e5)
            list.append(
                utf8:
                    "{\"id\":\"0190a1b2-\(String(id, radix: 16))\",\"name\":\"Ada Lovelace\",\"location\":{\"lat\":\(53.5 + place),"
                    + "\"lon\":\(13.2 + place),\"heading\":\(id % 360)},\"vehicle\":{\"make\":\"Toyota\",\"model\":\"Corolla\","
                    + "\"plate\":\"B-\(id % 10_000)\"},\"rating\":4.\(id % 100),\"status\":\"available\"},")
        }
        for level in [1, 6] as [Int32] {
            var deflater = Deflater(level: level)
            var output = ByteBuffer()
            measure("WebSocket: a list of \(list.count) bytes compressed, level \(level)", 1_000) {
                for _ in 0..<1_000 {
                    output.removeAll()
                    deflater.reset()
                    _ = deflater.deflate(list.span, into: &output)
                }
            }
            print("| … becomes \(output.count) bytes | |")
        }
        var compressed = ByteBuffer()
        var deflater = Deflater()
        _ = deflater.deflate(list.span, into: &compressed)
        var inflater = Inflater()
        var message = ByteBuffer()
        measure("WebSocket: it is decompressed", 1_000) {
            for _ in 0..<1_000 {
                message.removeAll()
                inflater.reset()
                _ = inflater.inflate(compressed.span, isLast: true, limit: 1 << 20, into: &message)
            }
        }
    }

    private static func report(_ name: String, _ latencies: LatencyHistogram) {
        let figures = [0.5, 0.99, 0.999, 1].map { Double(latencies.percentile($0) / 10) / 100 }
        print("| \(name) | \(figures.map { "\($0)" }.joined(separator: " | ")) |")
    }

    private final class Echo: ConnectionHandler {
        let loop: EventLoop
        init(loop: EventLoop) { self.loop = loop }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            unsafe loop.output(id)?.pointee.append(UnsafeRawBufferPointer(bytes))
            return bytes.count
        }
    }

    /// One message at a time, there and back.
    private final class Pinger: ConnectionHandler {
        let loop: EventLoop
        var sentAt: UInt64 = 0
        var latencies = LatencyHistogram()
        init(loop: EventLoop) { self.loop = loop }

        private func ping(_ id: ConnectionID) {
            sentAt = loop.preciseNow()
            unsafe loop.output(id)?.pointee.append("ping")
        }

        override func connectionOpened(_ id: ConnectionID) { ping(id) }

        override func connectionRead(_ id: ConnectionID, _ bytes: UnsafeMutableRawBufferPointer) -> Int {
            latencies.record(loop.preciseNow() - sentAt)
            if latencies.total < 100_000 { ping(id) } else { loop.stop() }
            return bytes.count
        }
    }

    /// Client and server share a loop: what a message costs, without the scheduler's part.
    private static func roundTrip() throws {
        let loop = try EventLoop()
        let listener = try loop.listen(.loopback(port: 0), handler: Echo(loop: loop))
        let pinger = Pinger(loop: loop)
        loop.connect(listener.localAddress, timeout: 1_000_000_000, handler: pinger)
        loop.run()
        report("TCP round trip, one loop", pinger.latencies)
    }

    private static func mailbox() throws {
        let group = try EventLoopGroup(count: 2)
        let (first, second) = (group.loops[0], group.loops[1])
        let latencies = LoopBound(Sink(), loop: first)
        let result = Mutex(LatencyHistogram())
        @Sendable func ping() {
            let sentAt = first.preciseNow()
            second.submit {
                first.submit {
                    let sink = latencies.value
                    sink.latencies.record(first.preciseNow() - sentAt)
                    if sink.latencies.total < 50_000 { return ping() }
                    let latencies = sink.latencies
                    result.withLock { $0 = latencies }
                    group.stop()
                }
            }
        }
        try group.start { loop in if loop === first { ping() } }
        group.join()
        report("mailbox round trip, two loops", result.withLock { $0 })
    }

    private final class Sink {
        var latencies = LatencyHistogram()
    }
}
