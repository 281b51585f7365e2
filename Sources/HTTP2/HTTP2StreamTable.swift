import Memory

/// The live streams of a connection: entries in places that never move, and their identifiers in order.
///
/// Both roles open streams in the order of identifiers (§5.1.1), so a new one is always the last, and the list is sorted by
/// itself. A look-up guesses the place, since identifiers mostly follow each other by two, and halves what is left when the
/// guess was wrong: a peer that chooses its identifiers with care costs a dozen comparisons, where a hash table would give
/// it collisions. An unused table has no memory.
struct HTTP2StreamTable: ~Copyable {
    struct Entry: BitwiseCopyable {
        var id: UInt32
        /// None: the stream has ended.
        var stream: HTTP2StreamHandle
    }

    private let streams = Slab<HTTP2Stream>(initialCount: 8)
    private var order = Vector<Entry>()
    /// The first place in `order` that counts: those before it have ended.
    private var head = 0
    /// Ended streams in `order` behind `head`.
    private var gaps = 0
    /// Gaps that are not worth closing; memory for so many entries that is not worth giving back.
    private static let slack = 64

    /// Comparisons, moves and visits that were not done in one step: what tests count.
    private(set) var work = 0

    /// Live streams.
    var count: Int { streams.count }

    /// Bytes that the live streams take. (The places of those that ended are kept for the next ones.)
    var heldBytes: Int {
        streams.count &* MemoryLayout<HTTP2Stream>.stride &+ order.count &* MemoryLayout<Entry>.stride
    }

    @inline(__always)
    @_lifetime(immortal)
    func find(_ stream: HTTP2StreamHandle) -> Place<HTTP2Stream>? { streams.find(stream) }

    /// The live stream with an identifier.
    @inline(__always)
    mutating func find(id: UInt32) -> HTTP2StreamHandle? {
        guard let place = place(id) else { return nil }
        let stream = order[place].stream
        return stream == .none ? nil : stream
    }

    /// Adds a stream with a higher identifier than any before it. Nil: there is no place.
    mutating func add(_ stream: consuming HTTP2Stream) -> HTTP2StreamHandle? {
        // Nobody has a `Place` here: what has ended may go.
        if streams.hasRetired { streams.reclaim() }
        let id = stream.id
        guard let handle = streams.insert(stream) else { return nil }
        order.append(Entry(id: id, stream: handle))
        return handle
    }

    /// Ends a stream; `entry` is its place. False: it had ended before.
    mutating func remove(_ stream: HTTP2StreamHandle, _ entry: Place<HTTP2Stream>) -> Bool {
        guard streams.remove(stream) else { return false }
        if entry.value.pending.capacity > 0 { entry.value.pending.release() }
        // Most streams are the last one, or the first.
        let last = order.count &- 1
        if order[last].stream == stream {
            dropLast()
        } else if order[head].stream == stream {
            order[head].stream = .none
            dropFirst()
        } else if let place = place(entry.value.id) {
            order[place].stream = .none
            gaps &+= 1
            if gaps > streams.count &+ Self.slack { closeGaps() }
        }
        return true
    }

    /// Where the stream with an identifier stands, live or not.
    @inline(__always)
    private mutating func place(_ id: UInt32) -> Int? {
        guard head < order.count else { return nil }
        let first = order[head].id
        guard id >= first else { return nil }
        // Each place is two identifiers further, at least: nothing that is sought lies behind the guess.
        let guess = min(head &+ Int((id &- first) >> 1), order.count &- 1)
        let found = order[guess].id
        if found == id { return guess }
        return found < id ? nil : search(id, head, guess &- 1)
    }

    private mutating func search(_ id: UInt32, _ first: Int, _ last: Int) -> Int? {
        var low = first
        var high = last
        while low <= high {
            work &+= 1
            let middle = (low &+ high) >> 1
            let found = order[middle].id
            if found == id { return middle }
            if found < id { low = middle &+ 1 } else { high = middle &- 1 }
        }
        return nil
    }

    /// The last stream has ended, and perhaps some before it had.
    private mutating func dropLast() {
        order.removeLast()
        if gaps > 0 { dropGaps() }
        if order.count == head { becameEmpty() }
    }

    private mutating func dropGaps() {
        while order.count > head && order[order.count &- 1].stream == .none {
            order.removeLast()
            gaps &-= 1
            work &+= 1
        }
    }

    /// The first stream has ended, and perhaps some behind it had.
    private mutating func dropFirst() {
        head &+= 1
        while head < order.count && order[head].stream == .none {
            head &+= 1
            gaps &-= 1
            work &+= 1
        }
        if head > Self.slack && head &* 2 > order.count {
            work &+= order.count &- head
            order.removeFirst(head)
            head = 0
        }
    }

    private mutating func becameEmpty() {
        head = 0
        if order.capacity > Self.slack { order.release() } else { order.removeAll() }
    }

    private mutating func closeGaps() {
        work &+= order.count &- head
        var kept = 0
        for place in head..<order.count where order[place].stream != .none {
            order[kept] = order[place]
            kept &+= 1
        }
        while order.count > kept { order.removeLast() }
        head = 0
        gaps = 0
    }

    // MARK: All of them

    /// The places to walk in order, with `stream(at:)`.
    var places: Range<Int> { head..<order.count }

    /// The stream in a place, nil if it has ended.
    func stream(at place: Int) -> HTTP2StreamHandle? {
        let stream = order[place].stream
        return stream == .none ? nil : stream
    }
}
