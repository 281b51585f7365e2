import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Rate limits of any number of keys in a fixed amount of memory: 16 bytes a place, shared by all threads without a lock.
///
///     let table = RateTable(capacity: 1 << 20)
///     guard table.take(key, quota, now: loop.now).isAdmitted else { return refuse() }
///
/// A key is a digest of who is limited and in what, by a secret of the process (`Hasher`): who does not know it can neither
/// choose a neighbour nor be taken for somebody else. It chooses a bucket of four places in one cache line; each has the key and
/// its theoretical arrival time (`RateQuota`).
///
/// **Who has to go.** A place whose arrival time has passed says the same as an empty one, so it is taken first, and nothing is
/// forgotten by that. If all four are in debt, the one with the least debt is forgiven. Nobody is locked out by that, however
/// many addresses an attacker has; and none of those can get rid of a debt cheaply: three others in the same bucket, which
/// nobody can aim at, would have to owe more than it does, which costs more than the debt that is forgiven.
///
/// **Races.** Two threads that take for one key take one after the other. While a place changes hands, a decision about the
/// old key or the new one may be made with the other's arrival time: one too many is let through, or one refused, and the next
/// look is right again.
///
/// Thread-safe.
@safe public final class RateTable: Sendable {
    /// Proof: allocated once, freed in `deinit`, and read and written by atomic operations alone. `Atomic<UInt64>` has the layout
    /// of `UInt64`, so that zeroed memory is zeros.
    private nonisolated(unsafe) let words: UnsafeMutablePointer<Atomic<UInt64>>
    /// What was allocated: `words` is the first cache line in it.
    private nonisolated(unsafe) let memory: UnsafeMutableRawPointer
    private let buckets: Int
    private let takenPlaces = Atomic<Int>(0)
    private let forgivenKeys = Atomic<Int>(0)

    private static let cacheLine = 64
    private static let places = 4
    /// Words of a bucket: a cache line of four keys with their arrival times.
    private static let bucketWords = 2 * places
    /// Buckets that `indebted` looks at.
    private static let sample = 1024

    /// Memory that no key has touched yet costs none: the system hands it out page by page.
    ///
    /// - Parameter capacity: places of 16 bytes, rounded up to four. With three places for two keys one in thirteen finds its
    ///   bucket full when all of them are in debt at once.
    public init(capacity: Int) {
        buckets = max(1, (capacity + Self.places - 1) / Self.places)
        let count = buckets * Self.bucketWords
        // Memory that is zeroed before it is touched; without any the program ends, as with every object.
        unsafe memory = calloc(count * 8 + Self.cacheLine, 1)!
        let start = unsafe memory.alignedUp(toMultipleOf: Self.cacheLine)
        unsafe words = unsafe start.bindMemory(to: Atomic<UInt64>.self, capacity: count)
    }

    deinit { unsafe free(memory) }

    /// Keys that there is room for.
    public var capacity: Int { buckets * Self.places }

    /// Places that have ever been used.
    public var usedPlaces: Int { takenPlaces.load(ordering: .relaxed) }

    /// Keys that were forgotten while they were in debt, because there was no room.
    public var forgiven: Int { forgivenKeys.load(ordering: .relaxed) }

    /// Takes one for a key, if its quota allows that.
    ///
    /// - Parameters:
    ///   - key: a keyed digest; the same key always with the same quota.
    ///   - now: monotonic nanoseconds, the same clock for all threads.
    public func take(_ key: UInt64, _ quota: RateQuota, now: UInt64) -> RateDecision {
        // 0 is an empty place.
        let key = key == 0 ? 1 : key
        let index = Int(truncatingIfNeeded: key.multipliedFullWidth(by: UInt64(truncatingIfNeeded: buckets)).high)
        let bucket = unsafe words + index * Self.bucketWords
        while true {
            var victim = 0
            var least = UInt64.max
            for place in 0..<Self.places {
                let arrival = unsafe bucket + (2 * place + 1)
                if unsafe bucket[2 * place].load(ordering: .relaxed) == key {
                    return unsafe Self.take(arrival, quota, now)
                }
                let due = unsafe arrival.pointee.load(ordering: .relaxed)
                if due < least { (victim, least) = (place, due) }
            }
            if let decision = unsafe settle(key, bucket + 2 * victim, least, quota, now) { return decision }
        }
    }

    /// Takes for a key that has a place.
    @inline(__always)
    private static func take(
        _ arrival: UnsafeMutablePointer<Atomic<UInt64>>, _ quota: RateQuota, _ now: UInt64
    ) -> RateDecision {
        var old = unsafe arrival.pointee.load(ordering: .relaxed)
        while true {
            var new = old
            let decision = quota.take(&new, now: now)
            guard decision.isAdmitted else { return decision }
            let result = unsafe arrival.pointee.weakCompareExchange(expected: old, desired: new, ordering: .relaxed)
            if result.exchanged { return decision }
            old = result.original
        }
    }

    /// Gives a key the place that was due first; nil if another thread was faster.
    private func settle(
        _ key: UInt64, _ place: UnsafeMutablePointer<Atomic<UInt64>>, _ due: UInt64, _ quota: RateQuota, _ now: UInt64
    ) -> RateDecision? {
        var arrival: UInt64 = 0
        let decision = quota.take(&arrival, now: now)
        // Whoever changes the arrival time has the place.
        guard unsafe place[1].compareExchange(expected: due, desired: arrival, ordering: .relaxed).exchanged else {
            return nil
        }
        let before = unsafe place[0].exchange(key, ordering: .relaxed)
        if before == 0 {
            takenPlaces.add(1, ordering: .relaxed)
        } else if due > now {
            forgivenKeys.add(1, ordering: .relaxed)
        }
        return decision
    }

    /// About how many keys are in debt: counted in the first thousand buckets, which are as good as any.
    public func indebted(now: UInt64) -> Int {
        let sample = min(buckets, Self.sample)
        var count = 0
        for place in 0..<(sample * Self.places)
        where unsafe words[2 * place + 1].load(ordering: .relaxed) > now { count += 1 }
        return count * buckets / sample
    }
}
