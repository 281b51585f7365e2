/// What the feed of live lists holds and does at most, so that a viewer costs others nothing.
struct FeedLimits: Sendable {
    // MARK: Views

    /// Tiles of one view: a view has the finest ones of which no more are needed. Reason: a screen of some 10 by 12; twice
    /// as wide is another level.
    var tilesPerView = 128
    /// Free cars of one tile, and of all tiles of a view whose limit is not higher: where there are more, a view is asked for
    /// on its own and costs its limit. Reason: a town on one screen, made in less than a millisecond.
    var driversPerView = 2_048
    /// Different views on one loop; a further one is refused. Reason: each costs some kB, and a change of everything marks
    /// all of them in one turn.
    var views = 8_192
    /// Tiles and views of their own that one loop watches. A view for whose tiles there is no room is one of its own.
    var units = 32_768
    /// Bytes of the newest lists of one loop's views; beyond them a new view is refused. Reason: a thousand whole towns.
    var frameBytes = 512 << 20
    /// Nanoseconds that a view stays one of its own after its tiles were too full. Reason: trying costs a call.
    var exactHold: UInt64 = 60_000_000_000

    // MARK: Calls

    /// Tiles of one call.
    var tilesPerCall = 256
    /// Drivers that one call is expected to bring. Reason: what the driver service answers at once (1 MiB).
    var driversPerCall = 4_096
    /// Calls for tiles under way. Reason: enough to fill the way there and back, too few to crowd out bookings.
    var tileCalls = 4
    /// Calls for views of their own under way; they rest as long as they took, so that they never keep the driver service busy.
    var exactCalls = 2
    /// Nanoseconds between two rounds of calls. Reason: cells that become dirty one after the other are asked for together.
    var roundSpacing: UInt64 = 10_000_000

    // MARK: Turns

    /// Drivers that are read, compared or written into lists in one turn of a loop; the last list or tile may exceed it.
    /// Reason: some two milliseconds.
    var workPerTurn = 4_096
    /// What a list costs beside its drivers, in drivers.
    static let workPerList = 32
}

/// How often a list is wanted: intervals in classes of powers of two, so that the shortest of thousands is found at once.
///
/// A class stands for its shortest interval; each subscriber's own interval is kept by the topic that sends to it.
struct Pace: Sendable, Equatable, Comparable {
    static let classes = 11
    let number: Int

    /// - Parameter interval: milliseconds.
    init(interval: Int) {
        let ratio = max(1, interval / AreaParameters.intervals.lowerBound)
        number = min(Self.classes - 1, ratio.bitWidth - 1 - ratio.leadingZeroBitCount)
    }

    init(number: Int) { self.number = number }

    /// Nanoseconds between two lists.
    var nanoseconds: UInt64 { UInt64(AreaParameters.intervals.lowerBound) * 1_000_000 << UInt64(number) }

    /// From here on whoever comes new does not wait for it: 400 ms.
    static let long = Pace(number: 3)

    static func < (left: Pace, right: Pace) -> Bool { left.number < right.number }
}

/// Who wants which pace.
struct PaceCounts {
    private var counts = SIMD16<UInt32>(repeating: 0)

    mutating func add(_ pace: Pace) { counts[pace.number] += 1 }
    mutating func remove(_ pace: Pace) { counts[pace.number] -= 1 }

    /// The quickest that somebody wants; nil: nobody wants any.
    var quickest: Pace? {
        for number in 0..<Pace.classes where counts[number] > 0 { return Pace(number: number) }
        return nil
    }
}

/// First in, first out.
struct WorkQueue<Element> {
    private var items: [Element?] = []
    private var head = 0

    var isEmpty: Bool { head == items.count }
    var count: Int { items.count - head }
    var first: Element? { head < items.count ? items[head] : nil }

    mutating func append(_ element: Element) { items.append(element) }

    mutating func popFirst() -> Element? {
        guard head < items.count else { return nil }
        let element = items[head]
        items[head] = nil
        head += 1
        if head == items.count {
            items.removeAll(keepingCapacity: head <= 256)
            head = 0
        } else if head >= 1_024 && head * 2 >= items.count {
            items.removeFirst(head)
            head = 0
        }
        return element
    }

    /// Puts what was taken out too early in front of all.
    mutating func putBack(_ elements: [Element]) {
        items.replaceSubrange(0..<head, with: elements.map { $0 })
        head = 0
    }
}
