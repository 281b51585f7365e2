import Memory

/// Names a timer. A timer that has fired or was cancelled leaves an identifier that names nothing.
public struct TimerID: Hashable, Sendable {
    let slot: UInt32
    let generation: UInt32

    /// Names no timer, ever.
    public static let none = TimerID(slot: 0, generation: 0)
}

/// What happens when a timer is due.
enum TimerAction {
    case none
    case once(() -> Void)
    case every(UInt64, () -> Void)
    case handler(TimerHandler, UInt64)
    /// The lazily armed deadline of a connection: its token.
    case connection(UInt64)
}

/// The timers of one loop: a heap of four children per node, ordered by (due time, order of arming), with a place for each
/// timer that knows where in the heap it is: arming, moving and cancelling cost O(log n).
struct TimerHeap: ~Copyable {
    private struct Entry: BitwiseCopyable {
        var due: UInt64
        /// The order of arming: timers that are due at the same instant fire in it.
        var sequence: UInt64
        var place: UInt32
    }

    private struct Place {
        var action = TimerAction.none
        /// Index in `heap`, −1 when the place is free.
        var position: Int32 = -1
        var generation: UInt32 = 1
    }

    private var heap = Vector<Entry>()
    private var places: [Place] = []
    private var free = Vector<UInt32>()
    /// The number that the next armed timer gets.
    private(set) var nextSequence: UInt64 = 0

    var count: Int { heap.count }

    /// When the first timer is due, in loop nanoseconds; nil if there is none.
    var firstDue: UInt64? { heap.isEmpty ? nil : heap[0].due }

    mutating func arm(at due: UInt64, _ action: TimerAction) -> TimerID {
        let place: UInt32
        if let reused = free.popLast() {
            place = reused
        } else {
            place = UInt32(places.count)
            places.append(Place())
        }
        places[Int(place)].action = action
        heap.append(Entry(due: due, sequence: nextSequence, place: place))
        nextSequence &+= 1
        siftUp(heap.count - 1)
        return TimerID(slot: place, generation: places[Int(place)].generation)
    }

    /// Moves a timer that has not fired to another time.
    mutating func move(_ id: TimerID, to due: UInt64) {
        guard let position = position(id) else { return }
        let earlier = due < heap[position].due
        heap[position].due = due
        heap[position].sequence = nextSequence
        nextSequence &+= 1
        if earlier { siftUp(position) } else { siftDown(position) }
    }

    /// Returns whether there was something to cancel.
    @discardableResult
    mutating func cancel(_ id: TimerID) -> Bool {
        guard let position = position(id) else { return false }
        remove(position)
        return true
    }

    func due(of id: TimerID) -> UInt64? { position(id).map { heap[$0].due } }

    /// Takes the first timer out if it is due at `now` and was armed before `sequence`.
    mutating func takeDue(_ now: UInt64, armedBefore sequence: UInt64) -> (TimerAction, due: UInt64)? {
        guard !heap.isEmpty, heap[0].due <= now, heap[0].sequence < sequence else { return nil }
        let due = heap[0].due
        guard case .every(let interval, _) = places[Int(heap[0].place)].action else { return (remove(0), due) }
        // A repeating timer keeps its identifier and its beat: beats that were missed are left out, not made up for.
        let action = places[Int(heap[0].place)].action
        heap[0].due = now.later(by: interval - (now - due) % interval)
        heap[0].sequence = nextSequence
        nextSequence &+= 1
        siftDown(0)
        return (action, due)
    }

    private func position(_ id: TimerID) -> Int? {
        guard id.generation != 0, Int(id.slot) < places.count else { return nil }
        guard places[Int(id.slot)].generation == id.generation else { return nil }
        let position = places[Int(id.slot)].position
        return position >= 0 ? Int(position) : nil
    }

    @discardableResult
    private mutating func remove(_ position: Int) -> TimerAction {
        let place = Int(heap[position].place)
        let action = places[place].action
        places[place].action = .none
        places[place].position = -1
        places[place].generation &+= 1
        if places[place].generation == 0 { places[place].generation = 1 }
        free.append(UInt32(place))
        let last = heap.count - 1
        if position < last {
            heap[position] = heap[last]
            heap.removeLast()
            places[Int(heap[position].place)].position = Int32(position)
            siftDown(position)
            siftUp(position)
        } else {
            heap.removeLast()
        }
        return action
    }

    private func isBefore(_ a: Entry, _ b: Entry) -> Bool {
        a.due != b.due ? a.due < b.due : a.sequence < b.sequence
    }

    private mutating func siftUp(_ start: Int) {
        var position = start
        let entry = heap[position]
        while position > 0 {
            let parent = (position - 1) / 4
            guard isBefore(entry, heap[parent]) else { break }
            heap[position] = heap[parent]
            places[Int(heap[position].place)].position = Int32(position)
            position = parent
        }
        heap[position] = entry
        places[Int(entry.place)].position = Int32(position)
    }

    private mutating func siftDown(_ start: Int) {
        var position = start
        let entry = heap[position]
        while true {
            let first = position * 4 + 1
            guard first < heap.count else { break }
            var smallest = first
            for child in first..<min(first + 4, heap.count) where isBefore(heap[child], heap[smallest]) {
                smallest = child
            }
            guard isBefore(heap[smallest], entry) else { break }
            heap[position] = heap[smallest]
            places[Int(heap[position].place)].position = Int32(position)
            position = smallest
        }
        heap[position] = entry
        places[Int(entry.place)].position = Int32(position)
    }
}
