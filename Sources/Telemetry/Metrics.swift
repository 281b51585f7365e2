import Synchronization

/// Counts up. Made by `MetricRegistry.counter`; one object per loop and series, all of a series are summed at a scrape.
///
/// One thread writes it, so an increment is a load, an add and a store without a lock prefix; any thread may read it.
public final class Counter: Sendable {
    @usableFromInline let storage = Atomic<UInt64>(0)

    init() {}

    /// Adds `amount`. Only by the thread that owns this object.
    @inlinable
    public func increment(by amount: UInt64 = 1) {
        storage.store(storage.load(ordering: .relaxed) &+ amount, ordering: .relaxed)
    }

    /// What was counted so far. Thread-safe.
    @inlinable
    public var value: UInt64 { storage.load(ordering: .relaxed) }
}

/// A value that goes up and down. One thread writes it; all objects of a series are summed at a scrape.
public final class Gauge: Sendable {
    @usableFromInline let storage = Atomic<UInt64>(0)

    init() {}

    /// Changes the value. Only by the thread that owns this object.
    @inlinable
    public func set(_ value: Double) { storage.store(value.bitPattern, ordering: .relaxed) }

    /// Changes the value. Only by the thread that owns this object.
    @inlinable
    public func set(_ value: Int) { set(Double(value)) }

    /// Adds to the value. Only by the thread that owns this object.
    @inlinable
    public func add(_ amount: Double) { set(value + amount) }

    /// The value now. Thread-safe.
    @inlinable
    public var value: Double { Double(bitPattern: storage.load(ordering: .relaxed)) }
}

/// Counts observations in buckets. One thread writes it; all objects of a series are summed at a scrape.
@safe public final class Histogram: Sendable {
    /// Seconds, from 100 µs to 10 s: what a request, a turn or the way of a change to a list can take.
    public static let seconds: [Double] = [
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]

    let bounds: [Double]
    /// One per bound and one for what lies above all of them. Proof: atomics, allocated here and freed in `deinit`.
    private nonisolated(unsafe) let buckets: UnsafeMutablePointer<Atomic<UInt64>>
    private let sumBits = Atomic<UInt64>(0)

    init(bounds: [Double]) {
        precondition(zip(bounds, bounds.dropFirst()).allSatisfy { $0 < $1 }, "bounds must grow")
        self.bounds = bounds
        unsafe buckets = .allocate(capacity: bounds.count + 1)
        for index in 0...bounds.count { unsafe (buckets + index).initialize(to: Atomic(0)) }
    }

    deinit {
        unsafe buckets.deinitialize(count: bounds.count + 1)
        unsafe buckets.deallocate()
    }

    /// Adds one observation, in the unit of the bounds (seconds, by convention).
    public func observe(_ value: Double) {
        var index = 0
        while index < bounds.count && value > bounds[index] { index &+= 1 }
        let count = unsafe buckets[index].load(ordering: .relaxed)
        unsafe buckets[index].store(count &+ 1, ordering: .relaxed)
        let sum = Double(bitPattern: sumBits.load(ordering: .relaxed)) + value
        sumBits.store(sum.bitPattern, ordering: .relaxed)
    }

    /// Adds one observation of a duration to a histogram whose bounds are seconds.
    public func observe(nanoseconds: UInt64) { observe(Double(nanoseconds) * 1e-9) }

    /// Observations per bucket (not cumulative), and their sum.
    func snapshot() -> (buckets: [UInt64], sum: Double) {
        let counts = (0...bounds.count).map { unsafe buckets[$0].load(ordering: .relaxed) }
        return (counts, Double(bitPattern: sumBits.load(ordering: .relaxed)))
    }
}
