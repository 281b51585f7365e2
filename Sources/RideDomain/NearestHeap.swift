/// Keeps the nearest `capacity` of the members it is shown: a binary heap with the farthest of them on top.
///
/// Showing it n members costs O(n) comparisons with the top and O(log capacity) for each that gets in.
struct NearestHeap {
    struct Hit {
        /// Squared chord (see `UnitVector`).
        var distance: Double
        var member: Int32
    }

    private(set) var hits: [Hit] = []
    private let capacity: Int
    /// Whether the first member comes before the second one at the same distance.
    private let precedes: (Int32, Int32) -> Bool
    /// Members that were shown, also those that did not get in.
    private(set) var seen = 0

    init(capacity: Int, precedes: @escaping (Int32, Int32) -> Bool) {
        self.capacity = capacity
        self.precedes = precedes
    }

    private func isNearer(_ left: Hit, _ right: Hit) -> Bool {
        left.distance != right.distance ? left.distance < right.distance : precedes(left.member, right.member)
    }

    mutating func removeAll() {
        hits.removeAll(keepingCapacity: true)
        seen = 0
    }

    mutating func show(_ member: Int32, distance: Double) {
        seen += 1
        let hit = Hit(distance: distance, member: member)
        if hits.count < capacity {
            hits.append(hit)
            siftUp(hits.count - 1)
        } else if capacity > 0, isNearer(hit, hits[0]) {
            hits[0] = hit
            siftDown(0)
        }
    }

    /// The hits, nearest first.
    func sorted() -> [Hit] { hits.sorted(by: isNearer) }

    private mutating func siftUp(_ start: Int) {
        var child = start
        while child > 0 {
            let parent = (child - 1) / 2
            guard isNearer(hits[parent], hits[child]) else { return }
            hits.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(_ start: Int) {
        var parent = start
        while true {
            var farthest = parent
            let left = 2 * parent + 1
            let right = left + 1
            if left < hits.count, isNearer(hits[farthest], hits[left]) { farthest = left }
            if right < hits.count, isNearer(hits[farthest], hits[right]) { farthest = right }
            guard farthest != parent else { return }
            hits.swapAt(parent, farthest)
            parent = farthest
        }
    }
}
