/// Whether a peer takes what waits for it, at a rate that counts as progress, however much is put behind it.
struct ProgressMark {
    private var since: UInt64 = 0
    private var left = 0
    private var taken = 0

    /// Everything has been taken, or something else is looked at from now on.
    mutating func clear() { since = 0 }

    /// Looks how much is left now, and how much has been taken ever. True: in `patience` nanoseconds less than `rate` bytes a
    /// second, or than what there was, has been taken.
    mutating func stalls(_ left: Int, taken: Int, now: UInt64, patience: UInt64, rate: Int) -> Bool {
        guard left > 0 else {
            since = 0
            return false
        }
        let elapsed = now > since ? now - since : 0
        if since != 0 {
            guard elapsed >= patience else { return false }
            let wanted = min(self.left, Int(clamping: elapsed / 1_000_000_000).multipliedClamping(by: rate))
            guard taken - self.taken >= max(wanted, 1) else { return true }
        }
        since = now
        self.left = left
        self.taken = taken
        return false
    }
}

extension Int {
    /// The product, or the largest number if it is larger.
    func multipliedClamping(by other: Int) -> Int {
        let (product, overflowed) = multipliedReportingOverflow(by: other)
        return overflowed ? .max : product
    }
}

extension UInt64 {
    /// The sum, or the largest number: a limit that means "never" must not wrap around.
    func after(_ duration: UInt64) -> UInt64 {
        let (sum, overflowed) = addingReportingOverflow(duration)
        return overflowed ? .max : sum
    }
}
