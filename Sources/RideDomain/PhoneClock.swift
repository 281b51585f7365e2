/// What a driver's phone calls the time, in the terms of this process's monotonic clock.
///
/// A phone's clock may be minutes off, and the server's wall clock may be set at any time, so neither is asked how old a
/// position is. A position that was measured at `at` of the phone's clock and arrives at `arrival` was on its way for
///
///     arrival − at − offset
///
/// where the offset is what the two clocks differ by. It is estimated as the least `arrival − at` of the last minutes: a
/// position can be late, but never early, so the promptest one tells the difference best. What a slow network adds
/// disappears with the first prompt position; a drift of the phone's clock is followed as older ones leave the window.
struct PhoneClock: Hashable {
    /// Milliseconds that a position counts for the estimate, at least; at most twice as long. Reason: a phone drifts by less
    /// than 100 ms in that time, and in any five minutes some position comes through promptly.
    static let window: Int64 = 300_000

    /// Milliseconds, monotonic, at which `current` began.
    private var began: Int64 = 0
    /// The least difference since `began`, and of the window before.
    private var current: Int64?
    private var previous: Int64?

    /// What is to be added to an instant of the phone's to get ours; nil before the first position.
    var offset: Int64? {
        switch (current, previous) {
        case (let current?, let previous?): min(current, previous)
        case (let one?, nil), (nil, let one?): one
        case (nil, nil): nil
        }
    }

    /// Takes an accepted position into the estimate.
    mutating func observe(_ difference: Int64, at arrival: Int64) {
        if current != nil, arrival - began >= Self.window {
            previous = current
            current = nil
        }
        if let least = current {
            current = min(least, difference)
        } else {
            current = difference
            began = arrival
        }
    }
}
