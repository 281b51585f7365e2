/// HPACK's static table (RFC 7541 appendix A) in the form that the decoder reads.
@safe struct HPACKStaticTable {
    static let count = 61

    /// Index 1 is the first.
    static let entries: [(StaticString, StaticString)] = [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
        ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
        ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""),
        ("etag", ""),
        ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
        ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
        ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
        ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
        ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
        ("www-authenticate", ""),
    ]

    /// Made on first use and kept for the life of the process.
    static let shared = HPACKStaticTable()

    /// By index 1…61; 0 is unused.
    let fields: UnsafePointer<HeaderField>

    private init() {
        let fields = UnsafeMutablePointer<HeaderField>.allocate(capacity: Self.count + 1)
        for index in 0...Self.count {
            let (name, value) = Self.entries[max(index, 1) - 1]
            var field = unsafe HeaderField(
                name: UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount),
                value: UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount))
            field.classify()
            unsafe (fields + index).initialize(to: field)
        }
        unsafe self.fields = UnsafePointer(fields)
    }
}

/// Proof: the table is written in `init` and read only after it.
extension HPACKStaticTable: @unchecked Sendable {}
