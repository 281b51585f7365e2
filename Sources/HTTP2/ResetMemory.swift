import Memory

/// The streams that this side reset a short while ago: what still arrives on them was sent before the peer knew, and is
/// ignored (RFC 9113 §5.1). Sets of four by the identifier's lower bits, the oldest of a set is forgotten first: asking is
/// four comparisons however many were reset. Without a reset it has no memory.
struct ResetMemory: ~Copyable {
    private static let sets = 64
    private static let ways = 4

    private var ids = Vector<UInt32>()

    var heldBytes: Int { ids.count &* MemoryLayout<UInt32>.stride }

    func contains(_ id: UInt32) -> Bool {
        guard !ids.isEmpty else { return false }
        let first = Self.first(id)
        for way in 0..<Self.ways where ids[first &+ way] == id { return true }
        return false
    }

    mutating func insert(_ id: UInt32) {
        if ids.isEmpty {
            for _ in 0..<Self.sets &* Self.ways { ids.append(0) }
        }
        let first = Self.first(id)
        for way in stride(from: Self.ways - 1, to: 0, by: -1) { ids[first &+ way] = ids[first &+ way &- 1] }
        ids[first] = id
    }

    private static func first(_ id: UInt32) -> Int { (Int(id >> 1) & (sets &- 1)) &* ways }
}
