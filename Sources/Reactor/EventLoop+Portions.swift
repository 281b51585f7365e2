/// Work that would keep everybody waiting if it were done at once.
extension EventLoop {
    /// Calls `body` with each number below `end`: those of the first portion now, those of each further one in a turn of its
    /// own, so that closing or telling thousands keeps nobody waiting. On the loop.
    ///
    /// - Parameter size: numbers of one portion.
    public func inPortions(of size: UInt32 = 256, below end: UInt32, _ body: @escaping (UInt32) -> Void) {
        var next: UInt32 = 0
        let portion = {
            let stop = end - next > max(1, size) ? next + max(1, size) : end
            while next < stop {
                body(next)
                next += 1
            }
            return next < end
        }
        if portion() { eachTurn(portion) }
    }

    /// Calls `step` in the next turn, and in each one behind it for as long as it returns true: for work of which more may come
    /// while it is done. On the loop.
    public func eachTurn(_ step: @escaping () -> Bool) {
        // A nanosecond from now is the next turn, behind this one's flush.
        schedule(after: 1) { [unowned self] in if step() { eachTurn(step) } }
    }
}
