import RideDomain

/// Where the next page of drivers begins, for the caller an opaque text, bound to the filter that it was made for.
///
/// Form: version, status, id: `1.available.sim-0007`, which needs no escaping in a URL.
enum DriverPageToken {
    static func text(after id: String, _ status: DriverStatus?) -> String { "1.\(status?.word ?? "all").\(id)" }

    /// The id that the last page ended with; nil: not a token of this service, or made for another filter.
    static func id(_ text: String, _ status: DriverStatus?) -> String? {
        let parts = text.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "1", parts[1] == status?.word ?? "all" else { return nil }
        let id = String(parts[2])
        return Identifier.isWellFormed(id) ? id : nil
    }
}
