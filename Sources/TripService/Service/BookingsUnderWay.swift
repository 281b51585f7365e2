/// Counts the bookings that are being made, and tells when those of an instant have ended. On the loop.
struct BookingsUnderWay {
    /// Those of an instant, for whose end somebody waits.
    private struct Crowd {
        var left: Int
        let isOver: () -> Void
    }

    private var count = 0
    /// By instant. Who is in an earlier one, and goes on, is in all later ones: they end in this order.
    private var crowds: [Crowd] = []
    /// Crowds that have ended.
    private var past = 0

    var isEmpty: Bool { count == 0 }

    /// One begins. Returns its place, which it gives back at its end: the number of the next crowd, the first that it may be in.
    mutating func begin() -> Int {
        count += 1
        return past + crowds.count
    }

    /// The one that has this place has ended. Returns who is to be told.
    mutating func end(_ place: Int) -> [() -> Void] {
        count -= 1
        for index in (place - past)..<crowds.count { crowds[index].left -= 1 }
        var over: [() -> Void] = []
        while let first = crowds.first, first.left == 0 {
            over.append(crowds.removeFirst().isOver)
            past += 1
        }
        return over
    }

    /// Tells when each one of now has ended; there are some.
    mutating func whenOver(_ isOver: @escaping () -> Void) {
        precondition(count > 0, "nobody is waited for")
        crowds.append(Crowd(left: count, isOver: isOver))
    }
}
