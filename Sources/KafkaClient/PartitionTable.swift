/// The partitions of a topic that is read, and how far each is. Pure: what librdkafka is to be asked for comes back as
/// values.
///
///     reading ──its end, or a record──▶ positioned ──lost (elsewhere), restated (same place)──▶ moving
///        ▲                                                                                        │
///        └───────────────────────────── no longer read at the old place ◀─────────────────────────┘
struct PartitionTable {
    struct Partition {
        /// The next offset to be read; -1: not known yet.
        var next: Int64 = -1
        /// Where librdkafka is to read it from: an offset, or its word for the beginning or the end.
        var target: Int64
        /// It has reported its end or a record since it was asked for.
        var isPositioned = false
        /// It is read at its old place still: what is heard from there does not count.
        var isMoving = false
    }

    private var partitions: [Int32: Partition] = [:]
    private var unpositioned = 0
    /// Of the topic: grows when all partitions are forgotten.
    private(set) var generation: UInt64 = 0

    var isEmpty: Bool { partitions.isEmpty }
    var numbers: [Int32] { partitions.keys.sorted() }
    /// Every known partition is positioned.
    var isPositioned: Bool { !partitions.isEmpty && unpositioned == 0 }
    /// Of the partitions whose next offset is known.
    var nextOffsets: [Int32: Int64] { partitions.compactMapValues { $0.next >= 0 ? $0.next : nil } }

    subscript(partition: Int32) -> Partition? { partitions[partition] }

    /// Adds the partitions below `count` that are not known yet; returns them.
    mutating func grow(to count: Int32, target: (Int32) -> Int64) -> [Int32] {
        guard count > 0 else { return [] }
        let new = (0..<count).filter { partitions[$0] == nil }
        for partition in new { partitions[partition] = Partition(target: target(partition)) }
        unpositioned += new.count
        return new
    }

    /// Forgets all partitions; returns them. What comes under their numbers is of another topic.
    mutating func removeAll() -> [Int32] {
        defer {
            partitions = [:]
            unpositioned = 0
            generation &+= 1
        }
        return numbers
    }

    /// It is to be read from elsewhere. False: it is not known, or being moved already (and then goes there).
    mutating func lose(_ partition: Int32, target: Int64) -> Bool {
        guard let state = partitions[partition] else { return false }
        set(partition, Partition(target: target, isMoving: true))
        return !state.isMoving
    }

    /// It is to be asked for again at the place where it is; where that is not known, at its last target. False: as with
    /// `lose`.
    mutating func restate(_ partition: Int32) -> Bool {
        guard let state = partitions[partition], !state.isMoving else { return false }
        let target = state.next >= 0 ? state.next : state.target
        set(partition, Partition(next: state.next, target: target, isMoving: true))
        return true
    }

    /// Nothing comes from its old place any more.
    mutating func moved(_ partition: Int32) { partitions[partition]?.isMoving = false }

    /// Nobody knows whether it still gets what is written.
    mutating func doubt(_ partition: Int32) {
        guard var state = partitions[partition] else { return }
        state.isPositioned = false
        set(partition, state)
    }

    mutating func doubtAll() { for partition in partitions.keys { doubt(partition) } }

    /// It has reported its end (`next`), or the record before `next`. A negative offset means that there is none.
    mutating func position(_ partition: Int32, next: Int64) {
        guard var state = partitions[partition], !state.isMoving else { return }
        if next >= 0 { state.next = next }
        state.isPositioned = true
        set(partition, state)
    }

    private mutating func set(_ partition: Int32, _ state: Partition) {
        let was = partitions.updateValue(state, forKey: partition)
        if was?.isPositioned == state.isPositioned { return }
        unpositioned += state.isPositioned ? -1 : 1
    }
}
