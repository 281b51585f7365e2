extension EventLoop {
    /// Calls `body` with each number below `end`: those of the first portion now, those of each further one in a turn of its
    /// own, so that closing or telling thousands keeps nobody waiting. On the loop.
    ///
    /// - Parameter size: numbers of one portion.
    public func inPortions(of size: UInt32 = 256, below end: UInt32, _ body: @escaping (UInt32) -> Void) {
        portion(from: 0, max(1, size), end, body)
    }

    private func portion(from start: UInt32, _ size: UInt32, _ end: UInt32, _ body: @escaping (UInt32) -> Void) {
        let stop = end - start > size ? start + size : end
        for number in start..<stop { body(number) }
        guard stop < end else { return }
        // A nanosecond from now is the next turn, behind this one's flush.
        schedule(after: 1) { [unowned self] in portion(from: stop, size, end, body) }
    }
}
