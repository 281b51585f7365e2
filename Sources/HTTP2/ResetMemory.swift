import Memory

/// The streams that this side reset: what still arrives on them was sent before the peer knew, and is ignored (RFC 9113
/// §5.1). That may be any DATA that the window allowed, a response's headers and its trailers, or a reset of the peer's own.
///
/// Sets of four by the identifier's lower bits, the oldest of a set is forgotten first; the sets become more as they fill up,
/// so that all streams that were open at once may be reset at once. Asking is four comparisons however many there are.
/// Without a reset it has no memory.
struct ResetMemory: ~Copyable {
    /// What is known of one stream: its identifier, which is odd, without the last bit, and which header blocks have come since
    /// the reset. 0 is no stream.
    private struct Entry {
        var bits: UInt32 = 0

        init(_ bits: UInt32) { self.bits = bits }
        init(id: UInt32) { bits = (id >> 1) << 2 | 1 }

        func names(_ id: UInt32) -> Bool { bits >> 2 == id >> 1 && bits != 0 }
        var set: Int { Int(bits >> 2) }
        /// A response has two at most.
        var mayHaveHeaders: Bool { bits & 3 < 3 }
        mutating func headersCame(isLast: Bool) { bits = isLast ? bits | 3 : bits &+ 1 }
    }

    private static let ways = 4
    private static let firstSets = 64
    /// 4,096 streams, 16 KiB.
    private static let maximumSets = 1024

    private var entries = Vector<UInt32>()
    private var sets = 0
    /// A stream was forgotten, so that one which is not known may have been reset, too.
    private(set) var hasForgotten = false

    var heldBytes: Int { entries.count &* MemoryLayout<UInt32>.stride }

    func contains(_ id: UInt32) -> Bool { place(id) != nil }

    /// Whether a header block on a stream that was reset is one of those that may still come.
    mutating func takeHeaders(_ id: UInt32, endStream: Bool) -> Bool {
        guard let place = place(id) else { return false }
        var entry = Entry(entries[place])
        guard entry.mayHaveHeaders else { return false }
        entry.headersCame(isLast: endStream)
        entries[place] = entry.bits
        return true
    }

    /// The peer has reset a stream, too: nothing more comes. False: this side had not, or has forgotten it.
    mutating func remove(_ id: UInt32) -> Bool {
        guard var place = place(id) else { return false }
        let end = first(Entry(id: id)) &+ Self.ways
        while place &+ 1 < end {
            entries[place] = entries[place &+ 1]
            place &+= 1
        }
        entries[place] = 0
        return true
    }

    mutating func insert(_ id: UInt32) {
        let entry = Entry(id: id)
        if sets == 0 { resize(Self.firstSets) }
        while sets < Self.maximumSets && entries[first(entry) &+ Self.ways &- 1] != 0 { resize(sets &* 4) }
        add(entry)
    }

    private mutating func add(_ entry: Entry) {
        let first = first(entry)
        if entries[first &+ Self.ways &- 1] != 0 { hasForgotten = true }
        for way in stride(from: Self.ways - 1, to: 0, by: -1) { entries[first &+ way] = entries[first &+ way &- 1] }
        entries[first] = entry.bits
    }

    private mutating func resize(_ count: Int) {
        var old = Vector<UInt32>()
        swap(&old, &entries)
        sets = count
        for _ in 0..<count &* Self.ways { entries.append(0) }
        // The newest of a set is its first.
        for place in (0..<old.count).reversed() where old[place] != 0 { add(Entry(old[place])) }
    }

    private func place(_ id: UInt32) -> Int? {
        guard sets > 0 else { return nil }
        let first = first(Entry(id: id))
        for place in first..<first &+ Self.ways where Entry(entries[place]).names(id) { return place }
        return nil
    }

    /// Where the set of an entry begins.
    private func first(_ entry: Entry) -> Int { (entry.set & (sets &- 1)) &* Self.ways }
}
