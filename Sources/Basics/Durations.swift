extension Duration {
    /// Whole nanoseconds, at least 0 and at most what 64 bits hold (584 years): how the loops count inside.
    @inlinable
    public var nanoseconds: UInt64 {
        let (seconds, attoseconds) = components
        guard seconds >= 0, attoseconds >= 0 else { return 0 }
        let (whole, overflow) = UInt64(clamping: seconds).multipliedReportingOverflow(by: 1_000_000_000)
        let (sum, over) = whole.addingReportingOverflow(UInt64(clamping: attoseconds) / 1_000_000_000)
        return overflow || over ? .max : sum
    }
}
